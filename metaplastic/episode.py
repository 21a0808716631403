"""Episodes: one lifetime of a learner, as tensors, and the streams that produce them.

Everything the library learns from has this one shape, so a learner never asks which task it is
living through and a task never asks which learner it feeds. A meta-batch is an `Episode` whose
every field carries a leading `tasks` axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor


class Episode(NamedTuple):
    """A meta-batch of lifetimes: streams to learn from, in order, and questions asked afterwards.

    `subtask` says which class or function an example came from. Learners never see it;
    evaluation needs it to measure forgetting. `seed` fixes whatever a lifetime draws at its birth
    (a fresh readout, say), so that a lifetime is the same on any number of processes.
    """

    support_x: Tensor  # tasks steps batch *input
    support_y: Tensor  # tasks steps batch (class index) or tasks steps batch outputs (real target)
    support_subtask: Tensor  # tasks steps batch
    query_x: Tensor  # tasks queries *input
    query_y: Tensor  # tasks queries or tasks queries outputs
    query_subtask: Tensor  # tasks queries
    seed: Tensor  # tasks, int64

    @property
    def tasks(self) -> int:
        return self.support_x.shape[0]

    def select(self, tasks: slice) -> Episode:
        """The lifetimes of this slice of the `tasks` axis, as a smaller meta-batch."""
        return Episode(*(field[tasks] for field in self))

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Episode:
        """Every field on `device`; floating-point fields also cast to `dtype` where it is given."""
        return Episode(
            *(field.to(device, dtype if field.is_floating_point() else None) for field in self)
        )


@dataclass(frozen=True)
class StreamSpec:
    """What a learner must know to live on a stream, and what a record must say of its data."""

    name: str
    kind: Literal["classification", "regression"]
    input_shape: tuple[int, ...]
    outputs: int  # width of the readout: label slots, or real outputs
    steps: int  # inner steps in a lifetime
    batch: int  # examples per inner step
    queries: int  # questions at the end of a lifetime
    subtasks: int  # classes or functions in a lifetime
    fingerprint: str  # sha256 over the data and the split they were drawn from


@runtime_checkable
class TaskStream(Protocol):
    """An endless, seeded source of lifetimes. Any object with these two members is one."""

    @property
    def spec(self) -> StreamSpec: ...

    def sample(self, tasks: int, generator: torch.Generator) -> Episode:
        """`tasks` fresh lifetimes, all randomness from `generator` (a CPU generator)."""
        ...
