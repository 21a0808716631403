"""The meta-loss of a meta-batch of lifetimes, from their predictions on the query set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from metaplastic.inner.kept_as_products import kept_as_products
from metaplastic.objective import CrossEntropy, Objective

if TYPE_CHECKING:
    from metaplastic.inner.learner import OnlineLearner


class MetaLoss(NamedTuple):
    """Loss, accuracy and predictions on the queries. Only `loss` has a graph."""

    loss: Tensor  # scalar: mean over tasks and queries
    per_task: Tensor  # tasks
    accuracy: Tensor | None  # tasks, for classification
    prediction: Tensor  # tasks queries outputs


def query_loss(objective: Objective, prediction: Tensor, target: Tensor) -> MetaLoss:
    """The meta-loss of predictions `tasks queries outputs` with targets `tasks queries ...`."""
    per_task = objective.loss(prediction, target).mean(1)
    accuracy = None
    if isinstance(objective, CrossEntropy):
        accuracy = objective.accuracy(prediction.detach(), target).mean(1)
    return MetaLoss(per_task.mean(), per_task.detach(), accuracy, prediction.detach())


def loss_of_lifetimes(
    learner: OnlineLearner, x: Tensor, y: Tensor, query_x: Tensor, query_y: Tensor, seed: Tensor
) -> MetaLoss:
    """The meta-loss of lifetimes whose inputs are encoded and whose labels are checked.

    Args:
        x, y: `tasks steps batch *features` and `tasks steps batch ...`.
        query_x, query_y: `tasks queries *features` and `tasks queries ...`.
    """
    # Only here, where nobody is handed the weights between a lifetime and its queries.
    start = {**learner.initialize(y, seed), **kept_as_products(learner, x.shape[1:3].numel())}
    fast = learner.adapt_checked(x, y, start)
    return query_loss(learner.objective, learner.predict(fast, query_x), query_y)


def mean_loss(losses: Sequence[MetaLoss]) -> MetaLoss:
    """The mean of several meta-losses of the same tasks; the prediction is that of the first."""
    first, *_ = losses
    if len(losses) == 1:
        return first
    accuracies = [each.accuracy for each in losses if each.accuracy is not None]
    return MetaLoss(
        torch.stack([each.loss for each in losses]).mean(),
        torch.stack([each.per_task for each in losses]).mean(0),
        torch.stack(accuracies).mean(0) if accuracies else None,
        first.prediction,
    )


def exchange_support_and_query(
    support: Tensor, support_y: Tensor, query: Tensor, query_y: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same lifetimes with the two sets exchanged: queries are learned from, step by step.

    `tasks steps batch ...` and `tasks queries ...` become `tasks queries/batch batch ...` and
    `tasks (steps batch) ...`.

    Raises:
        ValueError: for queries that are not a multiple of the batch size.
    """
    batch, queries = support.shape[2], query.shape[1]
    if queries % batch:
        raise ValueError(
            f"There are {queries} queries, which is not a multiple of the {batch} examples of a "
            "step; change one of the numbers, or use both_ways=False."
        )
    steps = (-1, batch)
    return (
        query.unflatten(1, steps), query_y.unflatten(1, steps),  # type: ignore[no-untyped-call]
        support.flatten(1, 2), support_y.flatten(1, 2),
    )  # fmt: skip
