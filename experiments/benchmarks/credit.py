"""The cost of a rule against plain backpropagation: a residual network of 22 sites, 128 images."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from experiments.benchmarks import Finding
from experiments.benchmarks.measure import interleaved
from experiments.benchmarks.memory import peak_mb
from experiments.lab.networks.residual import residual
from metaplastic import credit

BATCH, GOALS = 128, {"feedback_alignment": 1.15, "symmetric_alignment": 1.4}
RULES = (
    "feedback_alignment", "direct_feedback_alignment", "uniform_sign", "kolen_pollack",
    "symmetric_alignment", "weight_mirror", "activation_alignment", "information_alignment",
)  # fmt: skip


def measure(repeat: int, seed: int) -> list[Finding]:
    torch.manual_seed(seed)
    model, x = residual(), torch.randn(BATCH, 3, 32, 32)
    y = torch.randint(10, (BATCH,))

    def backprop(model: nn.Module = model) -> None:
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]

    def by_rule(name: str) -> Callable[[], None]:
        made = credit(name, model, example=x[:2])

        def once() -> None:
            model.zero_grad()
            made.backward(model, x, y, F.cross_entropy)

        return once

    candidates: dict[str, Callable[[], Any]] = {"backprop": backprop}
    candidates |= {name: by_rule(name) for name in RULES}
    if (peer := biotorch()) is not None:
        candidates["biotorch"] = lambda: backprop(peer)
    times = interleaved(candidates, repeat)
    plain = times.pop("backprop")
    found = []
    for name, spent in times.items():
        ratios = sorted(one / other for one, other in zip(spent, plain, strict=True))
        ratio, goal = median(ratios), GOALS.get(name)
        found.append(
            Finding(
                what=f"gradient of 22 sites by {name}: its time / backprop's",
                result=f"{ratio:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); "
                f"{1e3 * median(spent):.0f} ms / {1e3 * median(plain):.0f} ms",
                goal="" if goal is None else f"at most {goal}",
                met=None if goal is None else ratio <= goal,
                peak_mb=peak_mb(),
                detail={"ratio": ratio},
            )
        )
    return found


def biotorch() -> nn.Module | None:
    """The same network with biotorch's feedback alignment, if that package is installed."""
    try:
        from biotorch.module.biomodule import BioModule  # type: ignore[import-not-found]
    except ImportError:
        return None
    converted: nn.Module = BioModule(residual(), mode="fa")
    return converted
