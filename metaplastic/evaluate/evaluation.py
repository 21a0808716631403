"""Evaluation of a learner: few-shot accuracy, and error and accuracy along a lifetime.

Lifetime i is sampled from (seed, i) alone, so it is the same for every learner and every batch
size, and two learners can be compared lifetime by lifetime.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from metaplastic.episode import StreamSpec, TaskStream
from metaplastic.evaluate.few_shot_report import FewShotReport
from metaplastic.evaluate.intervals import Array, Kind
from metaplastic.evaluate.lifetime_evaluation import adapt_and_evaluate, is_correct, nan_to_inf
from metaplastic.evaluate.lifetimes import evaluating, lifetimes_of
from metaplastic.evaluate.report import ContinualReport
from metaplastic.support.choices import check_choice

if TYPE_CHECKING:
    from metaplastic.inner.learner import OnlineLearner


def few_shot(
    learner: OnlineLearner,
    stream: TaskStream,
    episodes: int = 500,
    seed: int = 0,
    tasks_per_batch: int = 16,
    minimum: int = 500,
) -> FewShotReport:
    """Adapt to `episodes` lifetimes and evaluate each on its queries of the learned subtasks.

    Args:
        tasks_per_batch: lifetimes computed at a time; the episodes do not depend on it.
        minimum: fewer episodes than this are an error, since their intervals are wide; lower it
            explicitly.

    Raises:
        ValueError: for fewer episodes than `minimum`.
    """
    if episodes < max(minimum, 1):
        raise ValueError(
            f"episodes is {episodes}, fewer than the {minimum} that published accuracies use. "
            f"Evaluate {minimum}, or pass minimum={episodes}."
        )
    losses, accuracies = [], []
    with evaluating(learner, seed):
        for batch in lifetimes_of(learner, stream, episodes, seed, tasks_per_batch):
            prediction = learner(batch).prediction
            own_subtask = batch.query_subtask < stream.spec.subtasks  # not of OML's remember set
            losses.append(_mean_of(learner.objective.loss(prediction, batch.query_y), own_subtask))
            if stream.spec.kind == "classification":
                accuracies.append(_mean_of(is_correct(prediction, batch.query_y), own_subtask))
    return FewShotReport(
        _array(torch.cat(losses)), _array(torch.cat(accuracies)) if accuracies else None, seed
    )


def over_lifetime(
    learner: OnlineLearner,
    stream: TaskStream,
    lifetimes: int = 50,
    seed: int = 0,
    snapshots: int | Iterable[int] | None = None,
    tasks_per_batch: int = 8,
    intervals: Kind = "normal",
    chunk: int | None = None,
    trajectory: bool = False,
) -> ContinualReport:
    """Evaluate all queries before the first example and at snapshots along the lifetime.

    Subtasks are numbered in the order in which they occur in a lifetime. The memory needed does not
    grow with the lifetime, apart from the stream's own examples and, for a trajectory, their
    features.

    Args:
        snapshots: inner steps after which to evaluate; or a number of equal parts, each evaluated
            at its end. By default one part per subtask: in an incremental stream, where one
            subtask ends and the next begins.
        chunk: inner steps encoded at a time; by default as many as have 512 inputs.
        trajectory: also evaluate on all examples of the stream, which measures forgetting without
            generalization (`ContinualReport.trajectory`). All examples of a seen subtask count.

    Raises:
        ValueError: for snapshots that are not in the lifetime or not in order, or before its end
            for a learner that has no intermediate state.
    """
    spec = stream.spec
    steps = _snapshot_steps(snapshots, spec)
    check_choice("intervals", intervals, Kind)
    for name, number in (("lifetimes", lifetimes), ("tasks_per_batch", tasks_per_batch)):
        if number < 1:
            raise ValueError(f"{name} is {number}; it must be at least 1.")
    if not learner.online and len(steps) > 1:
        raise ValueError(
            "This learner passes through its stream more than once or all at once, so it has no "
            "intermediate state. Use snapshots=1, or an online learner."
        )
    measured: dict[str, list[Array]] = {
        name: [] for name in ("test", "trajectory")[: 1 + trajectory]
    }
    occurred = []
    with evaluating(learner, seed):
        for batch in lifetimes_of(learner, stream, lifetimes, seed, tasks_per_batch):
            result = adapt_and_evaluate(
                learner, batch, spec, steps, chunk=chunk, trajectory=trajectory
            )
            for name, values in measured.items():
                values.append(_array(result.measures[name]))
            occurred.append(result.seen.cpu().numpy())
    seen, examples = np.concatenate(occurred), np.array(steps) * spec.batch

    def report(name: str, on_support: ContinualReport | None = None) -> ContinualReport:
        error, *rest = np.concatenate(measured[name], axis=1)
        return ContinualReport(
            error=error[:, 1:],
            initial_error=error[:, 0],
            accuracy=rest[0][:, 1:] if rest else None,
            initial_accuracy=rest[0][:, 0] if rest else None,
            seen=seen,
            examples=examples,
            seed=seed,
            intervals=intervals,
            trajectory=on_support,
        )

    return report("test", report("trajectory") if trajectory else None)


def _snapshot_steps(snapshots: int | Iterable[int] | None, spec: StreamSpec) -> list[int]:
    """The number of inner steps before each snapshot, in order."""
    steps = spec.steps
    if snapshots is None or isinstance(snapshots, int | Integral):
        parts = spec.subtasks if snapshots is None else int(snapshots)
        if not 1 <= parts <= steps:
            raise ValueError(
                f"snapshots is {parts}, but a lifetime of this stream has {steps} inner steps. "
                f"Choose from 1 to {steps}."
            )
        return [round(part * steps / parts) for part in range(1, parts + 1)]
    given = list(snapshots)
    integral = bool(given) and all(isinstance(step, Integral) for step in given)
    if not (integral and all(before < step for before, step in pairwise([0, *given, steps + 1]))):
        raise ValueError(
            f"snapshots is {given!r}; it must be inner steps in increasing order, of which a "
            f"lifetime of this stream has {steps}. Give whole numbers from 1 to "
            f"{steps}, each larger than the one before it."
        )
    return [int(step) for step in given]


def _mean_of(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the masked queries, `tasks queries` -> `tasks`; NaN counts as infinite."""
    return torch.where(mask, nan_to_inf(values.double()), 0.0).sum(1) / mask.sum(1)


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.double().cpu().numpy()
    return array
