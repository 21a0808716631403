"""Nine thousand steps of learning: without a meta-gradient, constant memory and bandwidth; with it,
in blocks of steps against the loop.

Two lifetimes of 9,000 one-example steps: a readout of 600 classes over 256 features, clamped to
the label, and a 256 x 256 site that is driven by feedback. A step reads and writes every synapse
once at the least, so copying the weights is the bound. Steps come in pieces, as a stream would.

With the meta-gradient the readout of 600 classes is clamped to the label, or learns by the delta
rule, taught its squared error. The loop is ours as well, by a rule that promises nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.benchmarks import Finding
from experiments.benchmarks.measure import copy_bandwidth, seconds
from experiments.benchmarks.memory import peak_mb
from metaplastic import (
    Backprop,
    CrossEntropy,
    Delta,
    Direct,
    LearningRule,
    MeanSquaredError,
    Objective,
    Oja,
    OnlineLearner,
    Unroll,
)
from metaplastic.stacked.stack import FastWeights

STEPS, PIECE, FEATURES = 9_000, 300, 256
FLAT_MB = 2.0  # an allocator rounds
IN_BLOCKS, SAME = 0.2, 1e-5  # seconds; of the largest entry of a meta-gradient
READINGS: dict[str, tuple[int, Callable[[], Direct]]] = {
    "a readout of 600 classes": (600, Direct),
    "a driven 256x256 site": (256, lambda: Direct(readout="feedback")),
}


def measure(repeat: int, seed: int) -> list[Finding]:
    findings = []
    for what, (outputs, _) in READINGS.items():
        learner = streaming(what, Unroll(compile=True))
        labels = torch.arange(STEPS).view(1, STEPS, 1) % outputs
        with torch.no_grad():
            findings.append(measure_lifetime(learner, labels, what))
    return [*findings, *(in_blocks(case, repeat) for case in BLOCKS)]


def streaming(what: str, how: Unroll) -> OnlineLearner:
    """The learner of one of `READINGS`, in eval mode."""
    outputs, feedback = READINGS[what]
    network = nn.Sequential(nn.Linear(FEATURES, outputs, bias=False))
    rule = LearningRule(feedback(), Oja(rate=1e-3))
    return OnlineLearner(network, rule, CrossEntropy(outputs), unroll=how).eval()


class OjaByStep(Oja):
    """Oja's rule without its promises."""

    def delta(self, *given: Tensor) -> Tensor:
        return super().delta(*given)


class DeltaByStep(Delta):
    """The delta rule without its promises."""

    def delta(self, *given: Tensor) -> Tensor:
        return super().delta(*given)


BLOCKS: dict[str, Callable[[bool], OnlineLearner]] = {
    "clamped to the label": lambda loop: readout(
        LearningRule(Direct(), (OjaByStep if loop else Oja)(rate=1e-3)), CrossEntropy(600), loop
    ),
    "by the delta rule": lambda loop: readout(
        LearningRule(Backprop(), (DeltaByStep if loop else Delta)(rate=3.0, per="layer")),
        MeanSquaredError(600), loop,
    ),
}  # fmt: skip


def readout(rule: LearningRule, objective: Objective, loop: bool) -> OnlineLearner:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(FEATURES, 600, bias=False))
    how = Unroll(checkpoint_every=100 if loop else None)  # 9,000 sets of weights are 5.5 GB
    return OnlineLearner(network, rule, objective, unroll=how)


def made(case: str, loop: bool, compile: bool = False) -> tuple[OnlineLearner, dict[str, Tensor]]:
    """The learner of one of `BLOCKS`, and its data."""
    torch.manual_seed(0)
    x, query = torch.rand(1, STEPS, 1, FEATURES) / FEATURES**0.5, torch.rand(1, 600, FEATURES)
    y, target = torch.arange(STEPS).view(1, STEPS, 1) % 600, torch.arange(600)[None]
    learner = BLOCKS[case](loop)
    learner.unroll = replace(learner.unroll, compile=compile)
    return learner, {"x": x, "y": y, "query_x": query, "query_y": target}


def work(learner: OnlineLearner, data: dict[str, Tensor]) -> Callable[[], list[Tensor]]:
    """9,000 steps and their meta-gradient."""
    x, y, query, target = data.values()
    if isinstance(learner.objective, MeanSquaredError):
        y, target = (F.one_hot(labels, 600).to(x.dtype) for labels in (y, target))
    parameters = [p for p in learner.parameters() if p.requires_grad]

    def meta_gradient() -> list[Tensor]:
        fast = learner.adapt(x, y, learner.initialize(y, torch.zeros(1).long()))
        loss = learner.objective.loss(learner.predict(fast, query), target).mean()
        return list(torch.autograd.grad(loss, parameters))

    return meta_gradient


def in_blocks(case: str, repeat: int) -> Finding:
    """9,000 steps and their meta-gradient, in blocks of steps and one by one."""
    ours, loop = work(*made(case, False)), work(*made(case, True))
    looped: list[Tensor] = []
    spent_looping = seconds(lambda: looped.extend(loop()))
    for one, other in zip(ours(), looped, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=SAME * float(other.abs().max()))
    times = [seconds(ours) for _ in range(max(repeat, 5))]
    return Finding(
        what=f"9,000 steps and their meta-gradient, a readout of 600 classes {case}",
        result=f"{median(times):.3f} s ({min(times):.3f} to {max(times):.3f}); step by step, once, "
        f"{spent_looping:.1f} s, the same to {SAME:g} of the largest entry",
        goal=f"at most {IN_BLOCKS} s",
        met=median(times) <= IN_BLOCKS,
        peak_mb=peak_mb(),
        detail={"seconds": median(times), "lowest": min(times), "loop_s": spent_looping},
    )


def measure_lifetime(learner: OnlineLearner, labels: torch.Tensor, what: str) -> Finding:
    weights: FastWeights = learner.initialize(labels, torch.zeros(1, dtype=torch.long))
    peaks, spent = [], []
    for first in range(0, STEPS, PIECE):
        x = torch.rand(1, PIECE, 1, FEATURES)
        y = labels[:, first : first + PIECE]

        def piece(x: torch.Tensor = x, y: torch.Tensor = y) -> None:
            nonlocal weights
            weights = learner.adapt(x, y, weights)

        spent.append(seconds(piece))
        peaks.append(peak_mb())
    # The first piece compiles, the second fills caches.
    speed = PIECE * len(spent[2:]) / sum(spent[2:])
    synapses = sum(weight[0].numel() for weight in weights.values())
    bound = copy_bandwidth(4e-6 * synapses) / (8 * synapses)
    growth = peaks[-1] - peaks[2]
    return Finding(
        what=f"9,000 steps without a meta-gradient, {what}",
        result=f"{speed:,.0f} steps/s, {100 * speed / bound:.0f} % of what copying the weights "
        f"allows ({bound:,.0f}); memory grew by {growth:.1f} MB from step 900 to 9,000",
        goal="memory flat",
        met=growth <= FLAT_MB,
        peak_mb=peaks[-1],
        detail={"steps_per_s": speed, "bound_per_s": bound, "grown_mb": growth},
    )
