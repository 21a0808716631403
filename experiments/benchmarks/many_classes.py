"""Hundreds of classes: the cost of an example by number of classes, and of a test of 600.

A readout of 256 features learns one example at a time, 15 of each class. Then the laptop's
`flp_readout`, untrained, is evaluated on ten lifetimes of 600 characters.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from experiments.benchmarks import Finding
from experiments.benchmarks.measure import interleaved, seconds
from experiments.benchmarks.memory import peak_mb
from experiments.lab.networks.build import build_learner, build_stream
from experiments.lab.runs.sweep import count_steps
from experiments.lab.settings.config import Train
from metaplastic import (
    CrossEntropy,
    Direct,
    Initialization,
    LearningRule,
    Oja,
    OnlineLearner,
    over_lifetime,
)
from metaplastic.inner.grow import grow
from metaplastic.stacked.readouts import CosineReadout
from metaplastic.stacked.stack import FastWeights
from tasks.data import DataError

FEATURES, SHOTS, STEPS = 256, 15, 9_000
CLASSES = (10, 100, 600, 3_000)
LIFETIMES, MINUTES = 10, 2.0


def measure(repeat: int, seed: int) -> list[Finding]:
    return [examples(repeat), evaluating_600(seed)]


def readout(classes: int) -> OnlineLearner:
    rule = LearningRule(Direct(strength=1.0), Oja(rate=0.05, per="feature"))
    network = nn.Sequential(CosineReadout(FEATURES, classes))
    return OnlineLearner(
        network, rule, CrossEntropy(classes), initialization=Initialization(readout="zeroed")
    ).eval()


@torch.no_grad()
def examples(repeat: int) -> Finding:
    """The time of 9,000 examples of so many classes."""

    def adapting(classes: int) -> Callable[[], FastWeights]:
        learner = readout(classes)
        x = torch.rand(1, STEPS, 1, FEATURES)
        shots = min(SHOTS, STEPS // classes)
        y = (torch.arange(STEPS) // shots % classes).view(1, STEPS, 1)
        initial = learner.initialize(y, torch.zeros(1, dtype=torch.long))
        return lambda: learner.adapt(x, y, initial)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = interleaved({str(classes): adapting(classes) for classes in CLASSES}, repeat)
    torch.set_num_threads(threads)
    best = {name: min(spent) for name, spent in times.items()}
    each = ", ".join(f"{1e6 * spent / STEPS:.1f} us ({name})" for name, spent in best.items())
    return Finding(
        what=f"9,000 examples of {FEATURES} features to a readout of 600 classes, one thread",
        result=f"{best['600']:.3f} s; per example, by number of classes: {each}",
        goal="at most 1 s",
        met=best["600"] <= 1,
        peak_mb=peak_mb(),
        detail={f"seconds_{name}": spent for name, spent in best.items()},
    )


def evaluating_600(seed: int) -> Finding:
    """Ten lifetimes from images to a report: encoding, 9,000 training examples, 12,000 queries."""
    what = f"{LIFETIMES} lifetimes of 600 characters from images to report, minutes"
    config = Train(task="split_omniglot", method="flp_readout")
    try:
        train, test = (build_stream(config, split) for split in ("train", "test"))
        learner = grow(build_learner(config, train), test.spec.outputs)
        spent = seconds(
            lambda: over_lifetime(
                learner, test, LIFETIMES, seed, count_steps(test.spec), 1, "bootstrap", None, True
            )
        )
    except DataError as reason:
        return Finding(what=what, result=f"not measured: {reason}")
    return Finding(
        what=what,
        result=f"{spent / 60:.2f} min, evaluated at {len(count_steps(test.spec))} steps, also on "
        "the training examples",
        goal=f"at most {MINUTES:g} min",
        met=spent <= 60 * MINUTES,
        peak_mb=peak_mb(),
        detail={"seconds": spent},
    )
