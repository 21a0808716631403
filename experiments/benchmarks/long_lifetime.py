"""Nine thousand steps of learning without a meta-gradient: constant memory, and bandwidth.

Two lifetimes of 9,000 one-example steps: a readout of 600 classes over 256 features, clamped to
the label, and a 256 x 256 site that is driven by feedback. A step reads and writes every synapse
once at the least, so copying the weights is the bound. Steps come in pieces, as a stream would.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from experiments.benchmarks import Finding
from experiments.benchmarks.measure import copy_bandwidth, seconds
from experiments.benchmarks.memory import peak_mb
from metaplastic import CrossEntropy, Direct, LearningRule, Oja, OnlineLearner, Unroll
from metaplastic.stacked.stack import FastWeights

STEPS, PIECE, FEATURES = 9_000, 300, 256
FLAT_MB = 2.0  # an allocator rounds
READINGS: dict[str, tuple[int, Callable[[], Direct]]] = {
    "a readout of 600 classes": (600, Direct),
    "a driven 256x256 site": (256, lambda: Direct(readout="feedback")),
}


def measure(repeat: int, seed: int) -> list[Finding]:
    findings = []
    for what, (outputs, feedback) in READINGS.items():
        network = nn.Sequential(nn.Linear(FEATURES, outputs, bias=False))
        rule = LearningRule(feedback(), Oja(rate=1e-3))
        learner = OnlineLearner(
            network, rule, CrossEntropy(outputs), unroll=Unroll(compile=True)
        ).eval()
        labels = torch.arange(STEPS).view(1, STEPS, 1) % outputs
        with torch.no_grad():
            findings.append(measure_lifetime(learner, labels, what))
    return findings


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
