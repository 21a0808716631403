"""What a meta-batch of lifetimes comes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from metaplastic.objective import CrossEntropy, Objective


class MetaLoss(NamedTuple):
    """Of the questions at the end of lifetimes. Only `loss` carries a graph."""

    loss: Tensor  # scalar: mean over tasks and queries
    per_task: Tensor  # tasks
    accuracy: Tensor | None  # tasks, for classification
    prediction: Tensor  # tasks queries outputs


def judged(objective: Objective, prediction: Tensor, target: Tensor) -> MetaLoss:
    """Answers `tasks queries outputs` to questions whose targets are `tasks queries ...`."""
    per_task = objective.loss(prediction, target).mean(1)
    accuracy = None
    if isinstance(objective, CrossEntropy):
        accuracy = objective.accuracy(prediction.detach(), target).mean(1)
    return MetaLoss(per_task.mean(), per_task.detach(), accuracy, prediction.detach())


def mean_of(lived: Sequence[MetaLoss]) -> MetaLoss:
    """The same tasks, lived in several ways; the prediction is that of the first."""
    first, *_ = lived
    if len(lived) == 1:
        return first
    accuracies = [life.accuracy for life in lived if life.accuracy is not None]
    return MetaLoss(
        torch.stack([life.loss for life in lived]).mean(),
        torch.stack([life.per_task for life in lived]).mean(0),
        torch.stack(accuracies).mean(0) if accuracies else None,
        first.prediction,
    )


def exchanged(
    support: Tensor, support_y: Tensor, query: Tensor, query_y: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same lifetimes the other way around: what was asked is learned, step by step, and back.

    `tasks steps batch ...` and `tasks queries ...` become `tasks queries/batch batch ...` and
    `tasks (steps batch) ...`.

    Raises:
        ValueError: for questions that do not make up whole steps.
    """
    batch, queries = support.shape[2], query.shape[1]
    if queries % batch:
        raise ValueError(
            f"There are {queries} questions, which are no whole number of steps of {batch} "
            "examples; choose numbers that divide, or do not live both ways."
        )
    steps = (-1, batch)
    return (
        query.unflatten(1, steps), query_y.unflatten(1, steps),  # type: ignore[no-untyped-call]
        support.flatten(1, 2), support_y.flatten(1, 2),
    )  # fmt: skip
