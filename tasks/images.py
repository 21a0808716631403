"""Few-shot image lifetimes: a few new classes, a few images of each.

One sampler is used for every set of images. A set is a uint8 array with axes classes, instances,
height, width and, for color, channels; a lifetime is sampled as indices, so a meta-batch takes two
gathers and no loop.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from metaplastic.episode import Episode, StreamSpec
from tasks.data import fingerprint
from tasks.distort import distorted, distortions, rotated
from tasks.image_options import FewShotOptions, check

# Pixels that are processed together, so that intermediate results fit into the cache.
AT_ONCE = 2**18


@dataclass(frozen=True, kw_only=True)
class FewShotImages(FewShotOptions, ABC):
    """Lifetimes from the images that a subclass supplies; see `FewShotOptions`."""

    name: ClassVar[str] = "images"

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        if "pictures" in vars(cls) and "load_images" not in vars(cls):
            warnings.warn(
                f"{cls.__name__}.pictures is now called load_images; the old name is removed in "
                "the next release.",
                DeprecationWarning,
                stacklevel=2,
            )
            cls.load_images = cls.pictures  # type: ignore[attr-defined,method-assign]

    @abstractmethod
    def load_images(self) -> Tensor:
        """The uint8 images of this split: classes instances height width, or ... channels."""

    def finish(self, x: Tensor) -> Tensor:
        """The preprocessing of images in [0, 1] (..., channels height width); may work in place."""
        return x

    @cached_property
    def images(self) -> Tensor:
        """The images, after checking that they suffice for the options."""
        images = self.load_images()
        check(self, images)
        return images.contiguous()

    @property
    def classes(self) -> int:
        """The number of classes to sample from, with rotated and mirrored ones."""
        return self.images.shape[0] * self._turns * (2 if self.reflections else 1)

    @property
    def _turns(self) -> int:
        return 4 if self.rotations else 1

    @cached_property
    def spec(self) -> StreamSpec:
        _, _, height, width, *channels = self.images.shape
        labels = self.classes if self.labels == "global" else self.slots or self.ways
        ranges = (self.rotations, self._support_range, self._query_range)
        first_image = self._look_up(torch.zeros(1, 1).long(), torch.zeros(1, 1).long())
        # Only if used, so that streams without them keep their fingerprint.
        distorted = [(self.distort, self.elastic)] if self.distort or self.elastic else []
        runs: list[object] = [self.neighbors] if self.neighbors > 1 else []
        runs += [("repeats", self.repeats)] if self.repeats > 1 else []
        runs += ["reflections"] if self.reflections else []
        return StreamSpec(
            name=self.name,
            kind="classification",
            input_shape=(channels[0] if channels else 1, height, width),
            outputs=self.outputs or labels,
            steps=self.ways * self.shots * self.repeats // self.batch,
            batch=self.batch,
            queries=self.ways * self.queries_per_class + self.remember,
            subtasks=self.ways,
            fingerprint=fingerprint(self.name, ranges, self.images, first_image, *distorted, *runs),
        )

    def sample(self, tasks: int, generator: torch.Generator) -> Episode:
        """`tasks` lifetimes of `ways` different classes each, numbered in order of occurrence."""
        classes = self._sample_classes(tasks, generator)
        labels = classes
        if self.labels == "permuted":
            slots = self.slots or self.ways
            labels = torch.rand(tasks, slots, generator=generator).topk(self.ways).indices
        support_instance, query_instance = self._sample_instances(tasks, generator)

        presented = torch.arange(self.ways * self.shots)
        if self.repeats > 1:  # within a class: subtasks stay in order
            presented = (
                presented.view(self.ways, 1, self.shots).expand(-1, self.repeats, -1).flatten()
            )
        presented = presented.expand(tasks, -1)  # tasks examples
        if self.order == "iid":
            order = torch.rand(presented.shape, generator=generator).argsort(-1)
            presented = presented.gather(1, order)
        subtask = presented // self.shots
        support_class, support_y = classes.gather(1, subtask), labels.gather(1, subtask)
        support_instance = support_instance.flatten(1).gather(1, presented)

        query_subtask = torch.arange(self.ways).repeat_interleave(self.queries_per_class)
        query_subtask = query_subtask.expand(tasks, -1)  # tasks queries
        query_class, query_y = classes.gather(1, query_subtask), labels.gather(1, query_subtask)
        instance = query_instance.flatten(1)
        if self.remember:
            remembered = (tasks, self.remember)
            any_class = torch.randint(self.classes, remembered, generator=generator)
            any_instance = torch.randint(*self._query_range, remembered, generator=generator)
            query_class = torch.cat([query_class, any_class], 1)
            query_y = torch.cat([query_y, any_class], 1)
            instance = torch.cat([instance, any_instance], 1)
            query_subtask = torch.cat([query_subtask, torch.full_like(any_class, self.ways)], 1)
        seed = torch.randint(2**62, (tasks,), generator=generator)

        # Images come last, so that lifetimes with and without distortion have the same indices.
        support_x = self._look_up(support_class, support_instance, generator)
        steps = (tasks, -1, self.batch)
        return Episode(
            support_x=support_x.reshape(*steps, *support_x.shape[2:]),
            support_y=support_y.reshape(steps),
            support_subtask=subtask.reshape(steps),
            query_x=self._look_up(query_class, instance, generator),
            query_y=query_y,
            query_subtask=query_subtask,
            seed=seed,
        )

    @property
    def _support_range(self) -> tuple[int, int]:
        return self.support_instances or (0, self.images.shape[1])

    @property
    def _query_range(self) -> tuple[int, int]:
        return self.query_instances or (0, self.images.shape[1])

    def _sample_classes(self, tasks: int, generator: torch.Generator) -> Tensor:
        """`tasks ways` different classes: each for itself, or in runs of consecutive numbers."""
        if self.neighbors == 1:
            return torch.rand(tasks, self.classes, generator=generator).topk(self.ways).indices
        # Runs tile the classes from a random offset, so that none overlap.
        runs = self.classes // self.neighbors
        ranked = torch.rand(tasks, runs, generator=generator).topk(-(-self.ways // self.neighbors))
        first = torch.randint(self.classes, (tasks, 1, 1), generator=generator)
        run = ranked.indices[..., None] * self.neighbors + torch.arange(self.neighbors)
        return ((run + first) % self.classes).flatten(1)[:, : self.ways]

    def _sample_instances(self, tasks: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Support instances (tasks ways shots) and query instances (... queries)."""
        every = (tasks, self.ways, self.images.shape[1])
        first, end = self._support_range
        keys = torch.rand(every, generator=generator)[..., first:end]
        support_instance = keys.topk(self.shots).indices + first
        first, end = self._query_range
        keys = torch.rand(every, generator=generator)
        if not self.overlap:
            keys.scatter_(2, support_instance, -1.0)  # behind all others
        return support_instance, keys[..., first:end].topk(self.queries_per_class).indices + first

    def _look_up(
        self, class_: Tensor, instance: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images in [0, 1] for indices (tasks examples): ... channels height width.

        They are distorted by `generator`, and without one as they are in the set.
        """
        classes, instances, *shape = self.images.shape
        row = ((class_ % classes) * instances + instance).flatten()
        kind = (class_ // classes).flatten()
        maps = None
        if generator is not None and (self.distort or self.elastic):
            maps = distortions(len(row), self.distort, self.elastic, generator)
        few = max(1, AT_ONCE // math.prod(shape))
        x = torch.cat(
            [
                self._preprocessed(row[some], kind[some], None if maps is None else maps[some])
                for some in (slice(i, i + few) for i in range(0, len(row), few))
            ]
        )
        return x.reshape(*class_.shape, *x.shape[1:])

    def _preprocessed(self, row: Tensor, kind: Tensor, maps: Tensor | None) -> Tensor:
        """The images of some rows of the set, each mirrored, turned and moved by its own map.

        `kind` counts quarter turns, then, from the number of turns on, those of mirrored images.
        """
        pixels = self.images.flatten(0, 1).index_select(0, row)
        turn = kind % self._turns
        if self.reflections:
            (which,) = (kind >= self._turns).nonzero(as_tuple=True)
            pixels[which] = pixels[which].flip(2)
        if self.rotations and maps is not None:
            maps = rotated(maps, turn)
        elif self.rotations:
            for turns in (1, 2, 3):
                (which,) = (turn == turns).nonzero(as_tuple=True)
                pixels[which] = pixels[which].rot90(turns, (1, 2))
        pixels = pixels[:, None] if pixels.ndim == 3 else pixels.movedim(-1, 1)
        x = pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
        # Before `finish`: the border is background, which `finish` may map to another value.
        return self.finish(x if maps is None else distorted(x, maps))


@dataclass(frozen=True, kw_only=True)
class ArrayImages(FewShotImages):
    """Lifetimes from images in memory: uint8, classes instances height width (channels)."""

    array: Tensor = field(repr=False, compare=False)

    def load_images(self) -> Tensor:
        return self.array
