"""Any learn2learn `Taskset` as a stream: whatever has `sample() -> (x, y)` will do.

Nothing is imported from learn2learn. Its tasksets draw from the global generators of `random`,
numpy and torch; these are seeded from the stream's own generator for each lifetime and put back
afterwards, so that runs are reproducible and the rest of the program notices nothing. A taskset
that loads in worker processes has generators of its own, which this cannot reach.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from metaplastic.episode import Episode, StreamSpec
from tasks.data import fingerprint, one_of


class HasSample(Protocol):
    def sample(self) -> tuple[Any, Any]:
        """One task: examples (n, *input) and their integer labels (n), in any order."""
        ...


@dataclass(frozen=True, kw_only=True)
class FromTaskset:
    """Lifetimes that learn `shots` examples of each class of a task and are evaluated on the rest.

    Labels are permuted afresh for every lifetime, whatever the taskset called the classes.
    """

    taskset: HasSample = field(repr=False, compare=False)
    shots: int = 1
    order: Literal["iid", "by_class"] = "iid"
    name: str = "taskset"
    seeds_everything: ClassVar[bool] = True  # so it is not sampled in a thread

    def __post_init__(self) -> None:
        one_of("order", self.order, ("iid", "by_class"))
        if not callable(getattr(self.taskset, "sample", None)):
            raise ValueError(
                f"taskset is of type {type(self.taskset).__name__}, which has no method sample; it "
                "must be something whose sample() gives one task, (x, y)."
            )

    @cached_property
    def _probe(self) -> Tensor:
        """One task by class, ways examples *input: it names the shapes, and the data apart."""
        return _by_class(*self._draw(0))

    @cached_property
    def spec(self) -> StreamSpec:
        ways, examples, *shape = self._probe.shape
        if not 1 <= self.shots < examples:
            raise ValueError(
                f"shots is {self.shots!r}; the taskset has {examples} examples of a class, and at "
                "least one must be left for the query set."
            )
        return StreamSpec(
            name=self.name,
            kind="classification",
            input_shape=tuple(shape),
            outputs=ways,
            steps=ways * self.shots,
            batch=1,
            queries=ways * (examples - self.shots),
            subtasks=ways,
            fingerprint=fingerprint("taskset", self.name, self._probe),
        )

    def sample(self, tasks: int, generator: torch.Generator) -> Episode:
        """`tasks` tasks of the taskset, each seeded by a number from `generator`."""
        ways, shots = self.spec.subtasks, self.shots
        seeds = torch.randint(2**32, (tasks,), generator=generator)
        x = torch.stack([self._same_shape(_by_class(*self._draw(int(seed)))) for seed in seeds])
        # A taskset may sort its classes and examples; arrival and label must not show it.
        task = torch.arange(tasks)[:, None]
        x = x[task, torch.rand(tasks, ways, generator=generator).argsort(-1)]
        mixed = torch.rand(x.shape[:3], generator=generator).argsort(-1)
        x = x[task[..., None], torch.arange(ways)[:, None], mixed]
        labels = torch.rand(tasks, ways, generator=generator).argsort(-1)

        shown = torch.arange(ways * shots).expand(tasks, -1)
        if self.order == "iid":
            shown = torch.rand(shown.shape, generator=generator).argsort(-1)
        subtask = shown // shots
        support = x[:, :, :shots].flatten(1, 2)[task, shown]
        about = torch.arange(ways).repeat_interleave(x.shape[2] - shots).expand(tasks, -1)
        return Episode(
            support_x=support[:, :, None],
            support_y=labels.gather(1, subtask)[..., None],
            support_subtask=subtask[..., None],
            query_x=x[:, :, shots:].flatten(1, 2),
            query_y=labels.gather(1, about),
            query_subtask=about,
            seed=torch.randint(2**62, (tasks,), generator=generator),
        )

    def _draw(self, seed: int) -> tuple[Tensor, Tensor]:
        with _seeded(seed):
            x, y = self.taskset.sample()
        return torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y)

    def _same_shape(self, x: Tensor) -> Tensor:
        if x.shape != self._probe.shape:
            raise ValueError(
                f"The taskset gave a task of shape {tuple(x.shape)} after one of "
                f"{tuple(self._probe.shape)}; all tasks must have the same ways, shots and inputs."
            )
        return x


def _by_class(x: Tensor, y: Tensor) -> Tensor:
    """The examples of a task sorted by label: ways examples *input."""
    y = y.flatten()
    if y.is_floating_point() or len(y) != len(x):
        raise ValueError(
            f"The taskset gave {len(x)} examples with {len(y)} labels of type {y.dtype}; it must "
            "give one integer label for each example."
        )
    _, number = torch.unique(y, return_counts=True)
    if (number != number[0]).any():
        raise ValueError(
            f"The taskset gave {number.tolist()} examples of its classes; it must give the same "
            "number of each."
        )
    return x[y.argsort(stable=True)].reshape(len(number), int(number[0]), *x.shape[1:])


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The global generators of random, numpy and torch start from `seed` and are put back."""
    states = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.random.set_rng_state(states[2])
