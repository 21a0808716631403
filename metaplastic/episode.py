"""Episodes: the support stream and query set of a lifetime, and the streams that sample them.

Learners and tasks share this one interface and are otherwise independent. A meta-batch is an
`Episode` whose every field has a leading `tasks` axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor


class Episode(NamedTuple):
    """A meta-batch of lifetimes: ordered support examples to learn from, and queries afterwards.

    `subtask` is the class or function of an example. Learners never see it; evaluation needs it to
    measure forgetting. `seed` determines what is sampled when a lifetime is initialized (a new
    readout, for example), so that a lifetime is the same on any number of processes.
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
        """The number of lifetimes."""
        return self.support_x.shape[0]

    def check(self) -> None:
        """Check the fields' shapes and dtypes.

        Raises:
            ValueError: with the field, its shape, and the axes that it needs.
        """
        for name, axes in (("support_x", 4), ("query_x", 3)):
            x: Tensor = getattr(self, name)
            if x.dim() < axes or not x.is_floating_point():
                first = "tasks steps batch" if axes == 4 else "tasks queries"
                raise ValueError(
                    f"{name} is {x.dtype} of shape {tuple(x.shape)}; it needs real numbers with "
                    f"axes {first}, then those of one input."
                )
        steps, queries = self.support_x.shape[:3], self.query_x.shape[:2]
        for name, leading in (
            ("support_y", steps), ("support_subtask", steps), ("query_x", queries),
            ("query_y", queries), ("query_subtask", queries), ("seed", steps[:1]),
        ):  # fmt: skip
            shape = getattr(self, name).shape
            if shape[: len(leading)] != leading or shape[0] != self.tasks:
                raise ValueError(
                    f"{name} has shape {tuple(shape)}, but support_x is of {self.tasks} tasks "
                    f"and the leading axes of {name} must be {tuple(leading)}."
                )
        if self.support_x.dtype != self.query_x.dtype:
            raise ValueError(
                f"support_x is {self.support_x.dtype}, query_x is {self.query_x.dtype}; make them "
                "the same."
            )
        if self.support_x.shape[3:] != self.query_x.shape[2:]:
            raise ValueError(
                f"An input of the support has shape {tuple(self.support_x.shape[3:])}, one of the "
                f"query {tuple(self.query_x.shape[2:])}; make them the same."
            )

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
    """The properties of a stream that a learner and a record of a run need."""

    name: str
    kind: Literal["classification", "regression"]
    input_shape: tuple[int, ...]
    outputs: int  # width of the readout: label slots, or real outputs
    steps: int  # inner steps in a lifetime
    batch: int  # examples per inner step
    queries: int  # queries at the end of a lifetime
    subtasks: int  # classes or functions in a lifetime
    fingerprint: str  # sha256 over the data and the split

    def check(self, episode: Episode) -> None:
        """Check that lifetimes agree with this spec.

        Raises:
            ValueError: as `Episode.check`, or with the property that differs.
        """
        episode.check()
        steps, batch, *inputs = episode.support_x.shape[1:]
        integer = not episode.support_y.is_floating_point()
        for name, declared, found in (
            ("steps", self.steps, steps),
            ("batch", self.batch, batch),
            ("queries", self.queries, episode.query_x.shape[1]),
            ("input_shape", tuple(self.input_shape), tuple(inputs)),
            ("kind", self.kind, "classification" if integer else "regression"),
        ):
            if declared != found:
                raise ValueError(
                    f"The spec of stream {self.name!r} has {name} = {declared!r}, but its "
                    f"lifetimes have {found!r}; make them the same."
                )
        first, last = (int(end) for end in episode.support_subtask.aminmax())
        if first < 0 or last >= self.subtasks:
            raise ValueError(
                f"support_subtask has values from {first} to {last}, but the stream's spec has "
                f"{self.subtasks} subtasks. They must be numbered from 0."
            )


@runtime_checkable
class TaskStream(Protocol):
    """A seeded sampler of lifetimes; any object with these two members is one."""

    @property
    def spec(self) -> StreamSpec:
        """What a learner needs to know of the stream, the same for all its lifetimes."""
        ...

    def sample(self, tasks: int, generator: torch.Generator) -> Episode:
        """`tasks` new lifetimes; `generator` is the only source of randomness (a CPU generator)."""
        ...
