"""What a learner is worth: accuracy over fresh lifetimes, and error all along a lifetime.

Lifetime number i is drawn from (seed, i) and nothing else, so every learner and every batch size
meets the same lifetimes, and two learners can be compared lifetime by lifetime.
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
from metaplastic.evaluate.lifetime_evaluation import counted, is_right, live
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
    """Adapt to `episodes` lifetimes and ask their queries, those about what was learned.

    Args:
        tasks_per_batch: lifetimes at a time; the episodes do not depend on it.
        minimum: refuses fewer episodes than this, below which intervals are wide and tempting;
            lower it on purpose.

    Raises:
        ValueError: for fewer episodes than `minimum`.
    """
    if episodes < max(minimum, 1):
        raise ValueError(
            f"episodes is {episodes}, fewer than the {minimum} that a published accuracy rests on. "
            f"Ask for {minimum}, or pass minimum={episodes} on purpose."
        )
    losses, accuracies = [], []
    with evaluating(learner, seed):
        for batch in lifetimes_of(learner, stream, episodes, seed, tasks_per_batch):
            answers = learner(batch).prediction
            mine = batch.query_subtask < stream.spec.subtasks  # not of OML's remember set
            losses.append(_mean_of(learner.objective.loss(answers, batch.query_y), mine))
            if stream.spec.kind == "classification":
                accuracies.append(_mean_of(is_right(answers, batch.query_y), mine))
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
    """Ask all queries at birth and at moments of the lifetime.

    Subtasks are numbered in the order in which a lifetime meets them. The memory needed does not
    grow with the lifetime, apart from the stream's own examples and, for a trajectory, their
    features.

    Args:
        snapshots: the moments, in inner steps lived; or a number of equal parts, of which the ends
            are the moments. By default one part for each subtask: in an incremental stream, where
            one subtask ends and the next begins.
        chunk: inner steps that are encoded at a time; by default as many as have 512 inputs.
        trajectory: also ask for all examples of the stream, which is to measure forgetting alone
            (`ContinualReport.trajectory`). Once a subtask is met, all its examples count.

    Raises:
        ValueError: for moments that are not in the lifetime or not in order, or for snapshots
            halfway of a learner that has no state there.
    """
    spec = stream.spec
    moments = _moments(snapshots, spec)
    check_choice("intervals", intervals, Kind)
    for name, number in (("lifetimes", lifetimes), ("tasks_per_batch", tasks_per_batch)):
        if number < 1:
            raise ValueError(f"{name} is {number}; it must be at least 1.")
    if not learner.online and len(moments) > 1:
        raise ValueError(
            "This learner goes through its stream more than once or all at once, so it has no "
            "state halfway. Use snapshots=1, or an online learner."
        )
    known: dict[str, list[Array]] = {name: [] for name in ("test", "trajectory")[: 1 + trajectory]}
    met = []
    with evaluating(learner, seed):
        for batch in lifetimes_of(learner, stream, lifetimes, seed, tasks_per_batch):
            lived = live(learner, batch, spec, moments, chunk=chunk, trajectory=trajectory)
            for name, values in known.items():
                values.append(_array(lived.known[name]))
            met.append(lived.seen.cpu().numpy())
    seen, examples = np.concatenate(met), np.array(moments) * spec.batch

    def report(name: str, told: ContinualReport | None = None) -> ContinualReport:
        error, *rest = np.concatenate(known[name], axis=1)
        return ContinualReport(
            error=error[:, 1:],
            error_at_birth=error[:, 0],
            accuracy=rest[0][:, 1:] if rest else None,
            accuracy_at_birth=rest[0][:, 0] if rest else None,
            seen=seen,
            examples=examples,
            seed=seed,
            intervals=intervals,
            trajectory=told,
        )

    return report("test", report("trajectory") if trajectory else None)


def _moments(snapshots: int | Iterable[int] | None, spec: StreamSpec) -> list[int]:
    """Inner steps lived at each snapshot, in order."""
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
    whole = bool(given) and all(isinstance(moment, Integral) for moment in given)
    if not (whole and all(before < moment for before, moment in pairwise([0, *given, steps + 1]))):
        raise ValueError(
            f"snapshots is {given!r}, but moments are inner steps lived, of which a lifetime of "
            f"this stream has {steps}. Give whole numbers from 1 to {steps}, each larger than the "
            "one before it."
        )
    return [int(moment) for moment in given]


def _mean_of(values: Tensor, mine: Tensor) -> Tensor:
    """Mean over the queries that count, `tasks queries` -> `tasks`; NaN counts as infinite."""
    return torch.where(mine, counted(values.double()), 0.0).sum(1) / mine.sum(1)


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.double().cpu().numpy()
    return array
