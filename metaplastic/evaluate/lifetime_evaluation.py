"""One lifetime after the other, stopped at some moments and asked all there is to ask.

A picture is encoded once, a few hundred at a time; answers become losses at once, and losses means
over subtasks. So what is held at any time does not grow with the number of snapshots.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from metaplastic.episode import Episode, StreamSpec
from metaplastic.evaluate.lifetimes import when_met
from metaplastic.stacked.stack import FastWeights

if TYPE_CHECKING:
    from metaplastic.inner.learner import OnlineLearner

PICTURES = 512  # inputs encoded at a time, of all lifetimes together
ANSWERS = 2**20  # numbers in the answers that are held at a time, of all lifetimes together


class Lived(NamedTuple):
    """Some lifetimes: what was known at birth and at each moment, and what had been met."""

    known: dict[str, Tensor]  # of "test" and "trajectory": measures tasks 1+moments subtasks
    seen: Tensor  # tasks moments subtasks


class Questions(NamedTuple):
    """What is asked at every moment."""

    x: Tensor  # tasks questions *features
    y: Tensor  # tasks questions, or tasks questions outputs
    place: Tensor  # tasks questions: when its subtask was met, by number; past the last for none


def live(
    learner: OnlineLearner,
    batch: Episode,
    spec: StreamSpec,
    moments: list[int],
    *,
    chunk: int | None,
    trajectory: bool,
) -> Lived:
    """Live these lifetimes and ask at birth and after each of `moments` inner steps.

    Subtasks are in the order in which they are met. Measures are the error and, for
    classification, the accuracy; NaN where nothing asks for a subtask.

    Args:
        chunk: inner steps encoded at a time; by default about `PICTURES` inputs.
        trajectory: whether to ask for the examples of the stream as well as the queries.
    """
    chunk = chunk or max(1, PICTURES // (batch.tasks * spec.batch))
    met = when_met(batch.support_subtask, spec.subtasks)
    order = met.argsort(dim=1, stable=True)
    ends = torch.tensor(moments, device=met.device) * spec.batch
    seen = met.gather(1, order)[:, None] < ends[:, None]

    query = torch.cat(list(encoded(learner, batch.query_x, 2, chunk * spec.batch)), 1)
    asked = {"test": Questions(query, batch.query_y, places(batch.query_subtask, order))}
    support: Iterable[Tensor] = encoded(learner, batch.support_x[:, : moments[-1]], 3, chunk)
    if trajectory:
        whole = torch.cat(list(encoded(learner, batch.support_x, 3, chunk)), 1)
        support = torch.split(whole[:, : moments[-1]], chunk, 1)
        place = places(batch.support_subtask.flatten(1), order)
        asked["trajectory"] = Questions(whole.flatten(1, 2), batch.support_y.flatten(1, 2), place)
    if not learner.online:
        support = [torch.cat(list(support), 1)]  # no part of it can be learned before the rest

    found: dict[str, list[Tensor]] = {name: [] for name in asked}
    for fast in states(learner, batch, support, moments):
        for name, questions in asked.items():
            found[name].append(ask(learner, fast, questions, spec))
    return Lived({name: torch.stack(values, 2) for name, values in found.items()}, seen)


def encoded(learner: OnlineLearner, x: Tensor, leading: int, at_a_time: int) -> Iterator[Tensor]:
    """The features of `x`, `at_a_time` of its second axis; inputs begin after `leading` axes."""
    for part in torch.split(x, at_a_time, 1):
        features = learner.encode(part.flatten(0, leading - 1))
        yield features.view(*part.shape[:leading], *features.shape[1:])


def states(
    learner: OnlineLearner, batch: Episode, support: Iterable[Tensor], moments: list[int]
) -> Iterator[FastWeights]:
    """Fast weights at birth and at each moment, from encoded pieces of the stream, in order."""
    fast = learner.birth(batch.support_y, batch.seed)
    yield fast
    begin = 0
    for piece in support:
        end = begin + piece.shape[1]
        stops = [begin, *(moment for moment in moments if begin < moment < end), end]
        for first, last in pairwise(stops):
            part = piece[:, first - begin : last - begin]
            fast = learner.adapt(part, batch.support_y[:, first:last], fast)
            if last in moments:
                yield fast
        begin = end


def ask(
    learner: OnlineLearner, fast: FastWeights, questions: Questions, spec: StreamSpec
) -> Tensor:
    """The mean error and accuracy over the questions about each subtask: measures tasks subtasks.

    Answers are kept no longer than it takes to judge them, and only so many at a time.
    """
    x, y, place = questions
    width = max(x.shape[2:].numel(), spec.outputs)
    size = max(1, ANSWERS // (len(x) * width))
    judged = []
    for some, right in zip(torch.split(x, size, 1), torch.split(y, size, 1), strict=True):
        answers = learner.predict(fast, some)
        values = [counted(learner.objective.loss(answers, right)).double()]
        if spec.kind == "classification":
            values.append(is_right(answers, right).double())
        judged.append(torch.stack(values))
    return torch.stack([by_subtask(v, place, spec.subtasks) for v in torch.cat(judged, 2)])


def places(subtask: Tensor, order: Tensor) -> Tensor:
    """Where in the order of its lifetime each subtask comes: `tasks questions` -> the same.

    A question about nothing that is in the order has the place after the last.
    """
    count = order.shape[1]
    inside = (subtask >= 0) & (subtask < count)
    place = order.argsort(1).gather(1, torch.where(inside, subtask, 0))
    return torch.where(inside, place, count)


def by_subtask(values: Tensor, place: Tensor, subtasks: int) -> Tensor:
    """Means of `tasks questions` over the questions of each place, `tasks subtasks`, in double."""
    tasks, width = len(values), subtasks + 1  # the last place is that of no subtask
    cell = (place + torch.arange(tasks, device=place.device)[:, None] * width).flatten()
    empty = torch.zeros(tasks * width, dtype=torch.float64, device=values.device)
    total = empty.index_add(0, cell, values.flatten()).view(tasks, width)
    number = empty.index_add(0, cell, torch.ones_like(cell, dtype=empty.dtype)).view(tasks, width)
    return (total / number)[:, :subtasks]  # no query of a subtask: 0 / 0, which is NaN


def is_right(prediction: Tensor, target: Tensor) -> Tensor:
    """1 where the largest output is the target's; a prediction that is not finite is wrong."""
    # A NaN is both the largest and the smallest; two extremes are read faster than all flags.
    finite = prediction.amax(-1).isfinite() & prediction.amin(-1).isfinite()
    return ((prediction.argmax(-1) == target) & finite).to(prediction.dtype)


def counted(loss: Tensor) -> Tensor:
    """A diverged lifetime's NaN as infinity: NaN would be left out of a mean, unseen."""
    return torch.where(loss.isnan(), torch.inf, loss)
