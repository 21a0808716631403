"""Evaluation of a learner on held-out lifetimes, as numbers and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.lab.networks.build import OVERLAPPING_SPLITS, fitted
from experiments.lab.runs.sweep import (
    class_counts,
    count_steps,
    describe_scales,
    rate_scales,
    swept,
)
from experiments.lab.settings.config import Stream
from metaplastic import OnlineLearner, StreamSpec, TaskStream
from metaplastic.evaluate.code_cache import codes_kept
from metaplastic.evaluate.evaluation import over_lifetime
from metaplastic.evaluate.report import ContinualReport, Measure

AT_A_TIME = 50  # lifetimes
MANY = 50  # subtasks: beyond that, evaluate at published counts only


def evaluate(
    learner: OnlineLearner, stream: TaskStream, config: Stream, folder: Path, trained: str | None
) -> dict[str, Any]:
    """Evaluate on `config.episodes` lifetimes; write `lifetimes.json` and `.csv`.

    `trained` is the split that the learner was meta-trained on. A learner with fewer outputs than
    classes is extended (`inner.grow`). Returns the summary for tables: `score` with its 95 %
    interval over lifetimes, the final score of each subtask in order of occurrence (`final`), and
    the curves, for classes also on the training examples. With many classes all are evaluated at
    the published counts alone, with bootstrap intervals.
    """
    spec = stream.spec
    learner = fitted(learner, spec)
    many = spec.subtasks > MANY
    counts = class_counts(spec) if many else range(1, spec.subtasks + 1)
    scales = rate_scales(learner, stream, config, counts)
    if scales:
        print(f"Rates at test, chosen on validation lifetimes: {describe_scales(scales)}.")
        if "validation" in (trained, *OVERLAPPING_SPLITS.get(str(trained), ())):
            print(f"These classes were also used for meta-training: split {trained!r}.")

    def evaluate_at(scale: float) -> ContinualReport:
        learner.rule.rate_scale = scale
        try:
            return over_lifetime(
                learner,
                stream,
                config.episodes,
                seed=config.seed,
                snapshots=1 if not learner.online else count_steps(spec) if many else None,
                tasks_per_batch=1 if many else min(config.episodes, at_a_time(spec)),
                intervals="bootstrap" if many else "normal",
                trajectory=many or (learner.online and spec.kind == "classification"),
            )
        finally:
            learner.rule.rate_scale = 1.0

    with codes_kept(learner):
        report, curves = swept(evaluate_at, scales)
    if report.diverged:
        print(
            f"{report.diverged} of {config.episodes} lifetimes diverged: errors there count as "
            "infinite, outputs that are not finite as wrong."
        )
    report.to_json(folder / "lifetimes.json")
    report.to_csv(folder / "lifetimes.csv")
    of: Measure = "accuracy" if spec.kind == "classification" else "error"
    initial, overall, end = report.initial(of), report.on_all(of), report.at_end(of)
    summary: dict[str, Any] = {
        "stream": f"{spec.name}, {config.order}",
        "kind": spec.kind,
        "episodes": config.episodes,
        "diverged": report.diverged,
        "score": float(overall.mean[-1]),
        "interval": [float(overall.low[-1]), float(overall.high[-1])],
        "final": end.mean.tolist(),
        "forgetting": float(report.forgetting(of).mean),
        "examples": {
            "x": [0, *report.examples.tolist()],
            "y": [float(initial.mean), *overall.mean.tolist()],
            "low": [float(initial.low), *overall.low.tolist()],
            "high": [float(initial.high), *overall.high.tolist()],
        },
    }
    if learner.online and config.order == "incremental":
        summary["seen"] = curves["test"]
        if "trajectory" in curves:
            summary["trajectory"] = curves["trajectory"]
        if many or scales:
            summary["rate_scales"] = {str(count): scale for count, scale in scales.items()}
    return summary


def at_a_time(spec: StreamSpec) -> int:
    """The number of lifetimes to run together, fewer for large inputs."""
    size = 1
    for length in spec.input_shape:
        size *= length
    return max(1, AT_A_TIME // (1 + size // 1000))
