"""Clusters: classes of vectors, few of whose directions matter.

A class is a few centers in a space of `signal` dimensions; an example is a center with noise. The
other dimensions hold noise that is the same for all classes, and a fixed rotation hides which are
which. Distances between inputs say little; an encoder that has learned the subspace of the signal
makes them say much. All numbers are sampled from a seed, so the stream needs no file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from metaplastic.episode import Episode, StreamSpec
from tasks.data import fingerprint, one_of

CLASSES = {"train": 1000, "validation": 200, "test": 400}


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Lifetimes of `ways` classes, `shots` support examples and `queries_per_class` of each.

    Inputs are vectors of `inputs` numbers. Centers have variance 1 in each of the `signal`
    dimensions, examples a standard deviation of `spread` around their center there, and of
    `nuisance` in all other dimensions. A class has `modes` centers, and an example is of any of
    them. Labels are permuted in every lifetime. `seed` determines all classes and the rotation;
    splits share no class.

    Raises:
        ValueError: for sizes that cannot be sampled.
    """

    split: Literal["train", "validation", "test"] = "train"
    order: Literal["iid", "by_class"] = "iid"
    ways: int = 5
    shots: int = 10
    queries_per_class: int = 10
    batch: int = 1
    inputs: int = 32
    signal: int = 6
    modes: int = 1
    spread: float = 0.4
    nuisance: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        one_of("split", self.split, CLASSES)
        one_of("order", self.order, ("iid", "by_class"))
        for name in ("ways", "shots", "queries_per_class", "batch", "modes", "signal"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be at least 1.")
        for name in ("spread", "nuisance"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; it must be a finite number from 0 on."
                )
        if self.ways > CLASSES[self.split]:
            raise ValueError(
                f"ways is {self.ways!r}; the {self.split} split has {CLASSES[self.split]} classes."
            )
        if self.signal > self.inputs:
            raise ValueError(
                f"signal is {self.signal!r}, more than the {self.inputs!r} inputs; use at most "
                "that many."
            )
        examples = self.shots * (1 if self.order == "by_class" else self.ways)
        if examples % self.batch:
            raise ValueError(
                f"batch is {self.batch!r}; it must divide the {examples} examples of a "
                f"{'class' if self.order == 'by_class' else 'lifetime'}."
            )

    @cached_property
    def centers(self) -> Tensor:
        """Of every class of the split, in the space of the signal: classes modes signal."""
        source = torch.Generator().manual_seed(1000 * self.seed + list(CLASSES).index(self.split))
        return torch.randn(CLASSES[self.split], self.modes, self.signal, generator=source)

    @cached_property
    def rotation(self) -> Tensor:
        """From signal and nuisance to inputs, the same in all splits: inputs inputs."""
        source = torch.Generator().manual_seed(1000 * self.seed + len(CLASSES))
        normal = torch.randn(self.inputs, self.inputs, generator=source, dtype=torch.float64)
        orthogonal: Tensor = torch.linalg.qr(normal).Q
        return orthogonal.float()

    @cached_property
    def spec(self) -> StreamSpec:
        return StreamSpec(
            name="clusters",
            kind="classification",
            input_shape=(self.inputs,),
            outputs=self.ways,
            steps=self.ways * self.shots // self.batch,
            batch=self.batch,
            queries=self.ways * self.queries_per_class,
            subtasks=self.ways,
            fingerprint=fingerprint(
                "clusters", self.split, self.centers, self.rotation, self.spread, self.nuisance
            ),
        )

    def sample(self, tasks: int, generator: torch.Generator) -> Episode:
        """`tasks` lifetimes of different classes, numbered in the order of their first example."""
        classes = torch.rand(tasks, CLASSES[self.split], generator=generator).topk(self.ways)
        labels = torch.rand(tasks, self.ways, generator=generator).argsort(-1)
        shown = torch.arange(self.ways).repeat_interleave(self.shots).expand(tasks, -1)
        if self.order == "iid":
            shown = shown.gather(1, torch.rand(shown.shape, generator=generator).argsort(-1))
        queried = torch.arange(self.ways).repeat_interleave(self.queries_per_class)
        queried = queried.expand(tasks, -1)
        support = self._examples(classes.indices.gather(1, shown), generator)
        queries = self._examples(classes.indices.gather(1, queried), generator)
        steps = (tasks, -1, self.batch)
        return Episode(
            support_x=support.reshape(*steps, self.inputs),
            support_y=labels.gather(1, shown).reshape(steps),
            support_subtask=shown.reshape(steps),
            query_x=queries,
            query_y=labels.gather(1, queried),
            query_subtask=queried,
            seed=torch.randint(2**62, (tasks,), generator=generator),
        )

    def _examples(self, classes: Tensor, generator: torch.Generator) -> Tensor:
        """An example of each of these classes: tasks n -> tasks n inputs."""
        mode = torch.randint(self.modes, classes.shape, generator=generator)
        noise = torch.randn(*classes.shape, self.inputs, generator=generator)
        scale = torch.full((self.inputs,), self.nuisance)
        scale[: self.signal] = self.spread
        values = noise * scale
        values[..., : self.signal] += self.centers[classes, mode]
        return values @ self.rotation
