"""What a learner is worth: accuracy over fresh lifetimes, and error all along a lifetime.

Lifetime number i is drawn from (seed, i) and nothing else, so every learner and every batch size
meets the same lifetimes, and two learners can be compared lifetime by lifetime.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from metaplastic.episode import Episode, TaskStream
from metaplastic.intervals import Array
from metaplastic.lifetimes import evaluating, first_met, lifetimes_of
from metaplastic.report import ContinualReport, FewShotReport, Mask

if TYPE_CHECKING:
    from metaplastic.learner import OnlineLearner

CHUNK = 32  # inner steps encoded at a time: what bounds the memory of a long lifetime


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
                accuracies.append(_mean_of(_right(answers, batch.query_y), mine))
    return FewShotReport(
        _array(torch.cat(losses)), _array(torch.cat(accuracies)) if accuracies else None, seed
    )


def over_lifetime(
    learner: OnlineLearner,
    stream: TaskStream,
    lifetimes: int = 50,
    seed: int = 0,
    snapshots: int | None = None,
    tasks_per_batch: int = 8,
    intervals: Literal["normal", "bootstrap"] = "normal",
    chunk: int = CHUNK,
) -> ContinualReport:
    """Ask all queries at birth and after each of `snapshots` equal parts of the lifetime.

    Subtasks are numbered in the order in which a lifetime meets them. The memory needed does not
    grow with the lifetime, apart from the stream's own examples.

    Args:
        snapshots: parts of the lifetime; by default one for each subtask, which in an incremental
            stream are the moments at which one subtask ends and the next begins.
        chunk: inner steps that are encoded at a time.

    Raises:
        ValueError: for more snapshots than steps, or for snapshots halfway of a learner that has
            no state there.
    """
    spec = stream.spec
    parts = spec.subtasks if snapshots is None else snapshots
    if not 1 <= parts <= spec.steps:
        raise ValueError(
            f"snapshots is {parts}, but a lifetime of this stream has {spec.steps} inner steps. "
            f"Choose from 1 to {spec.steps}."
        )
    if (learner.passes > 1 or learner.batch_learning) and parts > 1:
        raise ValueError(
            "This learner goes through its stream more than once or all at once, so it has no "
            "state halfway. Use snapshots=1, or an online learner."
        )
    cuts = [round(part * spec.steps / parts) for part in range(parts + 1)]
    online = not (learner.passes > 1 or learner.batch_learning)
    errors, accuracies, seen = [], [], []
    with evaluating(learner, seed):
        for batch in lifetimes_of(learner, stream, lifetimes, seed, tasks_per_batch):
            order = first_met(batch.support_subtask, spec.subtasks)
            rows = list(_snapshots(learner, batch, cuts, chunk if online else spec.steps))
            loss = [_counted(learner.objective.loss(row, batch.query_y)) for row in rows]
            errors.append(_by_subtask(loss, batch.query_subtask, order))
            if spec.kind == "classification":
                right = [_right(row, batch.query_y) for row in rows]
                accuracies.append(_by_subtask(right, batch.query_subtask, order))
            seen.append(_seen(batch.support_subtask, cuts, order))
    error = np.concatenate(errors)
    accuracy = np.concatenate(accuracies) if accuracies else None
    return ContinualReport(
        error=error[:, 1:],
        error_at_birth=error[:, 0],
        accuracy=None if accuracy is None else accuracy[:, 1:],
        accuracy_at_birth=None if accuracy is None else accuracy[:, 0],
        seen=np.concatenate(seen),
        examples=np.array(cuts[1:]) * spec.batch,
        seed=seed,
        intervals=intervals,
    )


def _snapshots(
    learner: OnlineLearner, batch: Episode, cuts: list[int], chunk: int
) -> Iterator[Tensor]:
    """Predictions (tasks queries outputs) at birth and at each cut."""
    query = _encoded(learner, batch.query_x, 2)
    fast = learner.birth(batch.support_y, batch.seed)
    yield learner.predict(fast, query)
    for begin, end in pairwise(cuts):
        for first in range(begin, end, chunk):
            steps = slice(first, min(first + chunk, end))
            support = _encoded(learner, batch.support_x[:, steps], 3)
            fast = learner.adapt(support, batch.support_y[:, steps], fast)
        yield learner.predict(fast, query)


def _encoded(learner: OnlineLearner, x: Tensor, leading: int) -> Tensor:
    encoded = learner.encode(x.flatten(0, leading - 1))
    return encoded.view(*x.shape[:leading], *encoded.shape[1:])


def _by_subtask(values: list[Tensor], subtask: Tensor, order: Tensor) -> Array:
    """Per-query values (tasks queries), one a snapshot -> means: tasks snapshots subtasks."""
    member = subtask[:, None, None] == order[:, None, :, None]  # tasks 1 subtasks queries
    stacked = torch.stack(values, 1).double()[:, :, None]  # tasks snapshots 1 queries
    total = torch.where(member, stacked, 0.0).sum(3)
    return _array(total / member.sum(3))  # no query of a subtask: 0 / 0, which is NaN


def _right(prediction: Tensor, target: Tensor) -> Tensor:
    """1 where the largest output is the target's; a prediction that is not finite is wrong."""
    right = (prediction.argmax(-1) == target) & prediction.isfinite().all(-1)
    return right.to(prediction.dtype)


def _mean_of(values: Tensor, mine: Tensor) -> Tensor:
    """Mean over the queries that count, `tasks queries` -> `tasks`; NaN counts as infinite."""
    return torch.where(mine, _counted(values.double()), 0.0).sum(1) / mine.sum(1)


def _counted(loss: Tensor) -> Tensor:
    """A diverged lifetime's NaN as infinity: NaN would be left out of a mean, unseen."""
    return torch.where(loss.isnan(), torch.inf, loss)


def _seen(subtask: Tensor, cuts: list[int], order: Tensor) -> Mask:
    rows = [(subtask[:, :end].flatten(1)[:, None] == order[:, :, None]).any(2) for end in cuts[1:]]
    seen: Mask = torch.stack(rows, 1).cpu().numpy()
    return seen


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.double().cpu().numpy()
    return array
