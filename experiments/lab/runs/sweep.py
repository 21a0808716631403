"""The rate of a gradient learner at test, chosen on validation lifetimes and never on the test.

The published protocols of OML and ANML search the rate of online SGD for each number of classes on
other trajectories than those reported. Here factors on the learner's own rates are tried.
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
from metaplastic.pathways.base import Backprop

LIFETIMES = 2  # of validation, at each factor
STEP = 10**0.5  # from the last factor to the next beyond it
BEYOND = 3  # factors beyond either end of those given, at most
COUNTS = (10, 50, 75, 100, 150, 200, 300, 400, 500, 600)  # classes at which others published


def class_counts(spec: StreamSpec) -> list[int]:
    """The numbers of classes after which others published, and that of all of them."""
    return [*(count for count in COUNTS if count < spec.subtasks), spec.subtasks]


def count_steps(spec: StreamSpec) -> list[int]:
    """Inner steps after which so many classes of an incremental stream have gone by."""
    return [count * spec.steps // spec.subtasks for count in class_counts(spec)]


def rate_scales(
    learner: OnlineLearner, stream: TaskStream, config: Stream, counts: Sequence[int]
) -> dict[int, float]:
    """For each number of classes the best of `config.sweep`; nothing for a learner without rates.

    While any of these is at an end of the range, the next beyond it is tried too, so that a range
    that was too narrow is no handicap. Rules without a gradient are tested at the rates that
    meta-training left them.

    Args:
        counts: numbers of classes in rising order. Those at which others published are tried; one
            between them goes at the pace of the next, and one beyond at that of the last.
    """
    if not config.sweep or not isinstance(learner.rule.feedback, Backprop) or not learner.online:
        return {}
    validation = held_out(stream)
    if validation is None or validation.spec.outputs > learner.objective.outputs:
        print(f"--sweep is not used: {config.task} has no validation classes for this learner.")
        return {}
    spec = validation.spec

    def accuracy_at(factor: float) -> np.ndarray:
        """Accuracy over the classes met so far, at each of the counts."""
        learner.rule.pace = factor
        try:
            report = over_lifetime(
                learner, validation, LIFETIMES, seed=config.seed + 1, snapshots=count_steps(spec),
                tasks_per_batch=1,
            )  # fmt: skip
        finally:
            learner.rule.pace = 1.0
        accuracy: np.ndarray = report.on_seen("accuracy").mean
        return accuracy

    tried = class_counts(spec)
    best = dict(zip(tried, chosen(accuracy_at, config.sweep), strict=True))
    return {
        count: best[next((one for one in tried if one >= count), tried[-1])] for count in counts
    }


def describe_scales(rate_scales: Mapping[int, float]) -> str:
    """Paces in words: `x0.3 up to 10, x0.1 up to 25 classes`."""
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
            # Where the range could not tell two factors apart, a further one is no better.
            ahead = tried[last] > tried[beside]
            if not (ahead & (tried[last] == np.max(list(tried.values()), axis=0))).any():
                break
            tried[last * step] = accuracy_at(last * step)
    order = sorted(tried)
    rows = np.stack([tried[factor] for factor in order])  # factors counts
    return [order[place] for place in rows.argmax(0)]


def held_out(stream: TaskStream) -> TaskStream | None:
    """Lifetimes of the same kind, as long as can be, of classes kept for choices like this one.

    None for a stream that has no such classes. Quarter turns count as classes of their own, so
    that there are enough. A published protocol keeps none: there, as published, the choice is made
    on other draws of lifetimes from the classes of the test.
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
    """Accuracy over the classes met, of each report at its own moment, against their number."""
    asked = [report if on == "test" else report.trajectory for report in reports]
    x, (y, low, high) = reports[0].subtasks_seen, np.empty((3, len(reports)))
    for moment, report in enumerate(asked):
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
    """Live at the pace of every number of classes: the report of the whole, and the curves."""
    reports = {scale: evaluate_at(scale) for scale in sorted(set(rate_scales.values())) or [1.0]}
    report = reports[1.0] if not rate_scales else reports[list(rate_scales.values())[-1]]
    chosen = [reports[scale] for scale in rate_scales.values()] or [report] * len(report.examples)
    asked = ("test", "trajectory") if report.trajectory is not None else ("test",)
    return report, {on: _curve(chosen, on) for on in asked}
