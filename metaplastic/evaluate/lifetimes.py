"""Lifetimes for evaluation: each is fixed by (seed, its number) alone."""

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
    """Lifetimes 0 to `count` - 1 of this seed, in meta-batches of `at_a_time`."""
    device = next(learner.parameters()).device
    for first in range(0, count, at_a_time):
        sampled = [
            stream.sample(1, seeded(seed, "lifetime", i))
            for i in range(first, min(first + at_a_time, count))
        ]
        episodes = Episode(*(torch.cat(field) for field in zip(*sampled, strict=True)))
        stream.spec.check(episodes)
        yield episodes.to(device)


@contextmanager
def evaluating(learner: OnlineLearner, seed: int) -> Iterator[None]:
    """A context with the learner in eval mode, no gradients and a seed of its own."""
    training, device = learner.training, next(learner.parameters()).device
    learner.eval()
    try:
        with torch.no_grad(), global_seed(device, seed, "evaluate"):
            yield
    finally:
        learner.train(training)


def first_occurrence(subtask: Tensor, subtasks: int) -> Tensor:
    """The index of the first example of each subtask; the stream's length for one that is absent.

    `tasks steps batch` -> `tasks subtasks`.
    """
    flat = subtask.flatten(1)
    index = torch.arange(flat.shape[1], device=flat.device).expand_as(flat)
    absent = torch.full((len(flat), subtasks), flat.shape[1], device=flat.device)
    return absent.scatter_reduce(1, flat, index, "amin")
