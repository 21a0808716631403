"""The choice of a gradient learner's rate at test, on validation lifetimes.

The published protocols of OML and ANML search the rate of online SGD for each number of classes on
other trajectories than those reported. Here scales of the learner's rates are tried. By hand: one
evaluation scores a scale for every number of classes at once, and the range grows where an end is
best, for which Optuna, the library of `experiments.sweep`, has no sampler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np

from experiments.lab.settings.config import Stream
from metaplastic import OnlineLearner, StreamSpec, TaskStream
from metaplastic.evaluate.evaluation import over_lifetime
from metaplastic.evaluate.report import ContinualReport, Measure
from metaplastic.pathways.carried_back import Backprop

LIFETIMES = 2  # of validation, at each factor
STEP = 10**0.5  # from the last factor to the next beyond it
BEYOND = 3  # factors beyond either end of those given, at most
COUNTS = (10, 50, 75, 100, 150, 200, 300, 400, 500, 600)  # classes at which others published


def class_counts(spec: StreamSpec) -> list[int]:
    """The numbers of classes with published results, and the number of all classes."""
    return [*(count for count in COUNTS if count < spec.subtasks), spec.subtasks]


def count_steps(spec: StreamSpec) -> list[int]:
    """The inner steps after which so many classes of an incremental stream are complete."""
    return [count * spec.steps // spec.subtasks for count in class_counts(spec)]


def rate_scales(
    learner: OnlineLearner, stream: TaskStream, config: Stream, counts: Sequence[int]
) -> dict[int, float]:
    """The best of `config.sweep` for each number of classes; empty for a learner without rates.

    While any of these is at an end of the range, the next beyond it is tried as well. Rules without
    a gradient keep their meta-learned rates.

    Args:
        counts: increasing numbers of classes. Those with published results are tuned; one between
            them has the scale of the next, and one beyond has that of the last.
    """
    if not config.sweep or not isinstance(learner.rule.pathway, Backprop) or not learner.online:
        return {}
    validation = held_out(stream)
    if validation is None or validation.spec.outputs > learner.objective.outputs:
        print(f"--sweep is not used: {config.task} has no validation classes for this learner.")
        return {}
    spec = validation.spec

    def accuracy_at(factor: float) -> np.ndarray:
        """Accuracy over the classes seen so far, at each of the counts."""
        learner.rule.rate_scale = factor
        try:
            report = over_lifetime(
                learner, validation, LIFETIMES, seed=config.seed + 1, snapshots=count_steps(spec),
                tasks_per_batch=1,
            )  # fmt: skip
        finally:
            learner.rule.rate_scale = 1.0
        accuracy: np.ndarray = report.on_seen("accuracy").mean
        return accuracy

    tried = class_counts(spec)
    best = dict(zip(tried, chosen(accuracy_at, config.sweep), strict=True))
    return {
        count: best[next((one for one in tried if one >= count), tried[-1])] for count in counts
    }


def describe_scales(rate_scales: Mapping[int, float]) -> str:
    """Rate scales in words: `x0.3 up to 10, x0.1 up to 25 classes`."""
    same = [
        (scale, [*group])
        for scale, group in groupby(rate_scales, key=lambda count: rate_scales[count])
    ]
    return ", ".join(f"x{scale:.2g} up to {counts[-1]}" for scale, counts in same) + " classes"


def chosen(accuracy_at: Callable[[float], np.ndarray], factors: Sequence[float]) -> list[float]:
    """The factor with the highest score, of equal ones the smallest, for each column of scores."""
    tried = {factor: accuracy_at(factor) for factor in sorted(factors)}
    for step in (1 / STEP, STEP):
        for _ in range(BEYOND):
            last, beside, *_ = [*sorted(tried, reverse=step > 1), None]
            if beside is None:
                break
            # If the range does not distinguish two factors, a further one is not tried.
            ahead = tried[last] > tried[beside]
            if not (ahead & (tried[last] == np.max(list(tried.values()), axis=0))).any():
                break
            tried[last * step] = accuracy_at(last * step)
    order = sorted(tried)
    rows = np.stack([tried[factor] for factor in order])  # factors counts
    return [order[place] for place in rows.argmax(0)]


def held_out(stream: TaskStream) -> TaskStream | None:
    """A stream of validation classes with lifetimes as long as possible.

    None for a stream without validation classes. Rotations by 90 degrees count as further classes.
    A published protocol has no validation classes: as published, the choice is made on other
    lifetimes from the test classes.
    """
    if getattr(stream, "protocol", None) is not None:
        return stream
    options: dict[str, Any] = {"split": "validation", "rotations": True}
    if not all(hasattr(stream, name) for name in (*options, "ways", "classes")):
        return None
    few = replace(stream, **options, ways=2, slots=None)  # type: ignore[type-var]
    ways = min(stream.ways, few.classes)  # type: ignore[attr-defined]
    return replace(few, ways=ways)  # type: ignore[type-var]


def _curve(reports: Sequence[ContinualReport], on: str) -> dict[str, Any]:
    """Accuracy over the classes seen against their number, each point from its own report."""
    chosen = [report if on == "test" else report.trajectory for report in reports]
    x, (y, low, high) = reports[0].subtasks_seen, np.empty((3, len(reports)))
    for moment, report in enumerate(chosen):
        assert report is not None
        of: Measure = "error" if report.accuracy is None else "accuracy"
        accuracy_at = report.on_seen(of)
        y[moment], low[moment], high[moment] = (
            ends[moment] for ends in (accuracy_at.mean, accuracy_at.low, accuracy_at.high)
        )
    return {
        "x": [int(n) if n == int(n) else float(n) for n in x],
        "y": y.tolist(), "low": low.tolist(), "high": high.tolist(),
    }  # fmt: skip


def swept(
    evaluate_at: Callable[[float], ContinualReport], rate_scales: Mapping[int, float]
) -> tuple[ContinualReport, dict[str, Any]]:
    """Evaluate at the scale of every number of classes: the final report, and the curves."""
    reports = {scale: evaluate_at(scale) for scale in sorted(set(rate_scales.values())) or [1.0]}
    report = reports[1.0] if not rate_scales else reports[list(rate_scales.values())[-1]]
    chosen = [reports[scale] for scale in rate_scales.values()] or [report] * len(report.examples)
    evaluated = ("test", "trajectory") if report.trajectory is not None else ("test",)
    return report, {on: _curve(chosen, on) for on in evaluated}
