"""Adaptation of a learner to lifetimes, with evaluations at snapshots along the way.

Each input is encoded once, a few hundred at a time; outputs are reduced to losses at once, and
losses to means over subtasks. So memory does not grow with the number of snapshots.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from metaplastic.episode import Episode, StreamSpec
from metaplastic.evaluate.lifetimes import first_occurrence
from metaplastic.stacked.stack import FastWeights

if TYPE_CHECKING:
    from metaplastic.inner.learner import OnlineLearner

ENCODED_INPUTS = 512  # inputs encoded at a time, of all lifetimes together
OUTPUT_NUMBERS = 2**20  # numbers in the outputs held at a time, of all lifetimes together


class LifetimeMeasures(NamedTuple):
    """Measures of some lifetimes before the first example and at each snapshot."""

    measures: dict[str, Tensor]  # of "test", "trajectory": measures tasks 1+snapshots subtasks
    seen: Tensor  # tasks snapshots subtasks: occurred in the stream by then


class Queries(NamedTuple):
    """The examples to evaluate on at every snapshot."""

    x: Tensor  # tasks queries *features
    y: Tensor  # tasks queries, or tasks queries outputs
    rank: Tensor  # tasks queries: its subtask's number in order of occurrence; the last for none


def adapt_and_evaluate(
    learner: OnlineLearner,
    batch: Episode,
    spec: StreamSpec,
    steps: list[int],
    *,
    chunk: int | None,
    trajectory: bool,
) -> LifetimeMeasures:
    """Adapt to these lifetimes; evaluate before the first and after each of `steps` inner steps.

    Subtasks are in the order in which they occur. Measures are the error and, for
    classification, the accuracy; NaN where a subtask has no query.

    Args:
        chunk: inner steps encoded at a time; by default about `ENCODED_INPUTS` inputs.
        trajectory: whether to evaluate on the examples of the stream as well as on the queries.
    """
    chunk = chunk or max(1, ENCODED_INPUTS // (batch.tasks * spec.batch))
    first = first_occurrence(batch.support_subtask, spec.subtasks)
    order = first.argsort(dim=1, stable=True)
    ends = torch.tensor(steps, device=first.device) * spec.batch
    seen = first.gather(1, order)[:, None] < ends[:, None]

    query = torch.cat(list(encoded(learner, batch.query_x, 2, chunk * spec.batch)), 1)
    evaluated = {"test": Queries(query, batch.query_y, subtask_ranks(batch.query_subtask, order))}
    support: Iterable[Tensor] = encoded(learner, batch.support_x[:, : steps[-1]], 3, chunk)
    if trajectory:
        features = torch.cat(list(encoded(learner, batch.support_x, 3, chunk)), 1)
        support = torch.split(features[:, : steps[-1]], chunk, 1)
        rank = subtask_ranks(batch.support_subtask.flatten(1), order)
        labels = batch.support_y.flatten(1, 2)
        evaluated["trajectory"] = Queries(features.flatten(1, 2), labels, rank)
    if not learner.online:
        support = [torch.cat(list(support), 1)]  # learned in one piece

    found: dict[str, list[Tensor]] = {name: [] for name in evaluated}
    for fast in fast_weights_at(learner, batch, support, steps):
        for name, queries in evaluated.items():
            found[name].append(evaluate(learner, fast, queries, spec))
    return LifetimeMeasures({name: torch.stack(values, 2) for name, values in found.items()}, seen)


def encoded(learner: OnlineLearner, x: Tensor, leading: int, at_a_time: int) -> Iterator[Tensor]:
    """Features of `x` in pieces of `at_a_time` along axis 1; an input's axes follow `leading`."""
    for part in torch.split(x, at_a_time, 1):
        features = learner.encode(part.flatten(0, leading - 1))
        yield features.view(*part.shape[:leading], *features.shape[1:])


def fast_weights_at(
    learner: OnlineLearner, batch: Episode, support: Iterable[Tensor], steps: list[int]
) -> Iterator[FastWeights]:
    """Initial fast weights and those after each of `steps`, from encoded pieces of the stream."""
    fast = learner.initialize(batch.support_y, batch.seed)
    yield fast
    begin = 0
    for piece in support:
        end = begin + piece.shape[1]
        stops = [begin, *(step for step in steps if begin < step < end), end]
        for first, last in pairwise(stops):
            part = piece[:, first - begin : last - begin]
            fast = learner.adapt(part, batch.support_y[:, first:last], fast)
            if last in steps:
                yield fast
        begin = end


def evaluate(
    learner: OnlineLearner, fast: FastWeights, queries: Queries, spec: StreamSpec
) -> Tensor:
    """Mean error and accuracy over the queries of each subtask: `measures tasks subtasks`.

    At most `OUTPUT_NUMBERS` numbers of outputs are held at a time.
    """
    x, y, rank = queries
    width = max(x.shape[2:].numel(), spec.outputs)
    size = max(1, OUTPUT_NUMBERS // (len(x) * width))
    measured = []
    for inputs, target in zip(torch.split(x, size, 1), torch.split(y, size, 1), strict=True):
        prediction = learner.predict(fast, inputs)
        values = [nan_to_inf(learner.objective.loss(prediction, target)).double()]
        if spec.kind == "classification":
            values.append(is_correct(prediction, target).double())
        measured.append(torch.stack(values))
    return torch.stack([mean_by_subtask(v, rank, spec.subtasks) for v in torch.cat(measured, 2)])


def subtask_ranks(subtask: Tensor, order: Tensor) -> Tensor:
    """Each query's subtask as a number in order of occurrence: `tasks queries` -> the same.

    A query of a subtask that is not in the order gets the number of subtasks.
    """
    count = order.shape[1]
    known = (subtask >= 0) & (subtask < count)
    rank = order.argsort(1).gather(1, torch.where(known, subtask, 0))
    return torch.where(known, rank, count)


def mean_by_subtask(values: Tensor, rank: Tensor, subtasks: int) -> Tensor:
    """Means of `tasks queries` over the queries of each rank, `tasks subtasks`, in float64."""
    tasks, width = len(values), subtasks + 1  # the last rank is that of no subtask
    cell = (rank + torch.arange(tasks, device=rank.device)[:, None] * width).flatten()
    empty = torch.zeros(tasks * width, dtype=torch.float64, device=values.device)
    total = empty.index_add(0, cell, values.flatten()).view(tasks, width)
    number = empty.index_add(0, cell, torch.ones_like(cell, dtype=empty.dtype)).view(tasks, width)
    return (total / number)[:, :subtasks]  # no query of a subtask: 0 / 0, which is NaN


def is_correct(prediction: Tensor, target: Tensor) -> Tensor:
    """1 where the largest output is the target's; a prediction that is not finite is wrong."""
    # A NaN is both the largest and the smallest; two extremes are read faster than all flags.
    finite = prediction.amax(-1).isfinite() & prediction.amin(-1).isfinite()
    return ((prediction.argmax(-1) == target) & finite).to(prediction.dtype)


def nan_to_inf(loss: Tensor) -> Tensor:
    """NaN, from a diverged lifetime, as infinity: a mean over the rest would hide it."""
    return torch.where(loss.isnan(), torch.inf, loss)
