"""Lifetimes to evaluate on: each fixed by (seed, its number), whoever asks for how many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metaplastic.episode import Episode, TaskStream
from metaplastic.support.seeding import global_seed, seeded

if TYPE_CHECKING:
    from metaplastic.inner.learner import OnlineLearner


def lifetimes_of(
    learner: OnlineLearner, stream: TaskStream, count: int, seed: int, at_a_time: int
) -> Iterator[Episode]:
    """Lifetimes 0 to `count` - 1 of this seed, `at_a_time` of them at once."""
    device = next(learner.parameters()).device
    for first in range(0, count, at_a_time):
        drawn = [
            stream.sample(1, seeded(seed, "lifetime", i))
            for i in range(first, min(first + at_a_time, count))
        ]
        lives = Episode(*(torch.cat(field) for field in zip(*drawn, strict=True)))
        stream.spec.check(lives)
        yield lives.to(device)


@contextmanager
def evaluating(learner: OnlineLearner, seed: int) -> Iterator[None]:
    """Within: eval mode, no gradient, a seed of its own. Afterwards: as it was before."""
    training, device = learner.training, next(learner.parameters()).device
    learner.eval()
    try:
        with torch.no_grad(), global_seed(device, seed, "evaluate"):
            yield
    finally:
        learner.train(training)


def when_met(subtask: Tensor, subtasks: int) -> Tensor:
    """The number of the first example of each subtask; those never met have that of the end.

    `tasks steps batch` -> `tasks subtasks`.
    """
    flat = subtask.flatten(1)
    when = torch.arange(flat.shape[1], device=flat.device).expand_as(flat)
    never = torch.full((len(flat), subtasks), flat.shape[1], device=flat.device)
    return never.scatter_reduce(1, flat, when, "amin")
