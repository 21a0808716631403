"""The two executors of an `OnlineLearner`: the written-out one, and the step of any network."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from experiments.benchmarks import Finding
from experiments.benchmarks.measure import interleaved
from experiments.benchmarks.memory import peak_mb
from metaplastic import (
    Backprop,
    CrossEntropy,
    Delta,
    Direct,
    LearningRule,
    Oja,
    OnlineLearner,
    Polynomial,
    RandomFeedback,
)

SIZES = {"8-32-4, 16 tasks x 5 steps x 8": (16, 5, 8, (8, 32, 4))}
SIZES |= {"64-256-8, 16 tasks x 5 steps x 8": (16, 5, 8, (64, 256, 8))}
SIZES |= {"256-256-5, 8 tasks x 25 steps x 1": (8, 25, 1, (256, 256, 5))}
RULES: dict[str, Callable[[], LearningRule]] = {
    "second-order SGD": lambda: LearningRule(Backprop(), Delta(rate=0.01)),
    "FLP": lambda: LearningRule(Direct(), Oja(rate=0.01)),
    "polynomial": lambda: LearningRule(
        RandomFeedback(weights="redrawn"), Polynomial(first={"signal_pre": 1e-3})
    ),
}


def measure(repeat: int, seed: int) -> list[Finding]:
    found = []
    for size, (tasks, steps, batch, widths) in SIZES.items():
        torch.manual_seed(seed)
        x = torch.randn(tasks, steps, batch, widths[0])
        y = torch.randint(widths[-1], (tasks, steps, batch))
        query, target = torch.randn(tasks, 15, widths[0]), torch.randint(widths[-1], (tasks, 15))
        for name, rule in RULES.items():
            candidates = {
                "written out": meta_step(widths, rule, None, x, y, query, target),
                "generic": meta_step(widths, rule, (widths[0],), x, y, query, target),
            }
            times = interleaved(candidates, repeat, calls=3)
            pairs = zip(times["generic"], times["written out"], strict=True)
            ratios = sorted(slow / fast for slow, fast in pairs)
            generic, written = (median(times[key]) for key in ("generic", "written out"))
            found.append(
                Finding(
                    what=f"meta-gradient, {size}, {name}: generic / written out",
                    result=f"{median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f}); "
                    f"{1e3 * generic:.1f} ms / {1e3 * written:.1f} ms",
                    goal="",
                    met=None,
                    peak_mb=peak_mb(),
                    detail={"ratio": median(ratios)},
                )
            )
    return found


def meta_step(
    widths: tuple[int, ...],
    rule: Callable[[], LearningRule],
    input_shape: tuple[int, ...] | None,
    x: Tensor,
    y: Tensor,
    query: Tensor,
    target: Tensor,
) -> Callable[[], Any]:
    """A lifetime of every task and the meta-gradient of its query loss."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(widths[0], widths[1]), nn.Tanh(), nn.Linear(widths[1], widths[2])
    )
    objective = CrossEntropy(widths[-1])
    learner = OnlineLearner(network, rule(), objective, input_shape=input_shape)
    seed = torch.arange(len(x))

    def once() -> None:
        learner.zero_grad()
        fast = learner.adapt(x, y, learner.initialize(y, seed))
        loss = objective.loss(learner.predict(fast, query), target).mean()
        loss.backward()  # type: ignore[no-untyped-call]

    return once
