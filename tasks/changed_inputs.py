"""Changed inputs: every lifetime sees another stream through a sensor of its own.

What is the same in all lifetimes, an encoder can be meta-trained for; what is new in each must be
learned within it. This stream takes any other and changes its inputs by a random map that is
sampled anew for every lifetime, of a strength between 0 (none) and 1:

- `mixing`: a random orthogonal matrix over the inputs, a new sensor. It is a product of rounds of
  rotations in the planes of random pairs of inputs, by angles up to `strength` half turns.
- `drift`: such a matrix that grows over the lifetime, from none before the first example to its
  full angles at the last; queries come after the last.
- `contrast`: gains and offsets, constant over a lifetime. On images they vary along a plane, a
  light from one side; on vectors every input has its own.
- `permutation`: a share `strength` of the inputs exchange their places, on images pixels.
- `classes`: a share `strength` of the lifetime's classes is seen through a mixing, one each, at
  full strength: classes of a kind that no encoder met.

Lifetimes of one generator have the same examples and the same random maps at every strength, so
that methods and strengths can be compared lifetime by lifetime.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from inspect import signature
from typing import Literal, get_args

import torch
from torch import Tensor

import tasks
from metaplastic.episode import Episode, StreamSpec, TaskStream
from tasks.data import fingerprint, one_of

Change = Literal["mixing", "drift", "contrast", "permutation", "classes"]
CHANGES: tuple[Change, ...] = get_args(Change)
GAIN, OFFSET = 1.0, 0.5  # standard deviations of log gains and offsets at strength 1


@dataclass(frozen=True, kw_only=True)
class Changed:
    """The lifetimes of `stream` with inputs changed by `change`, at a strength from 0 to 1.

    `uniform` samples the strength of each lifetime between 0 and `strength`: for meta-training.

    Raises:
        ValueError: for a strength out of range.
    """

    stream: TaskStream = field(repr=False)
    change: Change = "mixing"
    strength: float = 1.0
    uniform: bool = False

    def __post_init__(self) -> None:
        one_of("change", self.change, CHANGES)
        if not 0 <= self.strength <= 1:
            raise ValueError(
                f"strength is {self.strength!r}; it must be from 0, no change, to 1, the largest."
            )

    @cached_property
    def spec(self) -> StreamSpec:
        own = self.stream.spec
        mark = fingerprint(own.fingerprint, self.change, self.strength, self.uniform)
        return replace(own, name=f"{own.name}, {self.change}", fingerprint=mark)

    def sample(self, tasks: int, generator: torch.Generator) -> Episode:
        """`tasks` lifetimes of the stream, each with its own change."""
        episode = self.stream.sample(tasks, generator)
        share = torch.rand(tasks, generator=generator)
        strength = self.strength * (share if self.uniform else torch.ones(tasks))
        support, queries = episode.support_x.flatten(1, 2), episode.query_x
        x = torch.cat([support, queries], 1)
        subtask = torch.cat([episode.support_subtask.flatten(1), episode.query_subtask], 1)
        time = torch.ones(x.shape[1])
        time[: support.shape[1]] = torch.linspace(0, 1, support.shape[1])
        match self.change:
            case "contrast":
                x = lit(x, strength, generator)
            case "permutation":
                x = permuted(x, strength, generator)
            case "mixing":
                x = mixed(x, strength[:, None, None], generator)
            case "drift":
                x = mixed(x, strength[:, None, None] * time[:, None], generator)
            case "classes":
                x = self._new_classes(x, subtask, strength, generator)
        return episode._replace(
            support_x=x[:, : support.shape[1]].reshape(episode.support_x.shape),
            query_x=x[:, support.shape[1] :],
        )

    def _new_classes(
        self, x: Tensor, subtask: Tensor, strength: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Mixes the examples of some classes, each class by a matrix of its own."""
        count, classes = len(x), self.spec.subtasks
        rank = torch.rand(count, classes, generator=generator).argsort(-1).argsort(-1)
        is_new = rank < (strength * classes).round()[:, None]
        seeds = torch.randint(2**62, (classes,), generator=generator)
        for number, seed in enumerate(seeds.tolist()):
            own = torch.Generator().manual_seed(seed)
            chosen = (subtask == number) & is_new[:, number, None]
            x = mixed(x, chosen[..., None].to(x.dtype), own)
        return x


def mixed(x: Tensor, amount: Tensor, generator: torch.Generator) -> Tensor:
    """Inputs `tasks n *input` times an orthogonal matrix for each task, which is I at amount 0.

    Args:
        amount: the share of half a turn that angles reach, `tasks 1 1` or `tasks n 1`.
    """
    places = _places(x)
    count, size = len(x), places.shape[-1]
    channels = [1] * (places.dim() - 3)
    for _ in range(math.ceil(math.log2(max(size, 2))) + 1):
        order = torch.rand(count, size, generator=generator).argsort(-1)
        angle = math.pi * (2 * torch.rand(count, 1, size // 2, generator=generator) - 1) * amount
        angle = angle.reshape(*angle.shape[:2], *channels, size // 2)
        first, second = (_taken(places, o) for o in (order[:, : size // 2], _second(order)))
        cos, sin = angle.cos(), angle.sin()
        rest = [_taken(places, order[:, -1:])] if size % 2 else []
        turned = torch.cat([cos * first - sin * second, sin * first + cos * second, *rest], -1)
        places = _taken(turned, order.argsort(-1))
    return places.reshape(x.shape)


def permuted(x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Inputs `tasks n *input` of which a share `strength` (tasks) exchange places in a ring."""
    places = _places(x)
    size = places.shape[-1]
    order = torch.rand(len(x), size, generator=generator).argsort(-1)
    number = (strength * size).round().long()[:, None]
    index = torch.arange(size)
    after = torch.where(index < number, (index + 1) % number.clamp_min(1), index)
    source = torch.empty_like(order).scatter_(1, order, order.gather(1, after))
    return _taken(places, source).reshape(x.shape)


def lit(x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Inputs `tasks n *input` times a gain plus an offset, each a field over the inputs."""
    shape = x.shape[2:]
    if len(shape) == 3:  # planes over height and width, the same in every channel
        down, across = (torch.linspace(-1, 1, length) for length in shape[1:])
        plane = torch.ones(shape[1:])
        basis = torch.stack([plane, down[:, None] * plane, across * plane])
        coefficients = torch.randn(2, len(x), 3, generator=generator)
        fields = torch.einsum("ftk,khw->fthw", coefficients, basis)[:, :, None, None]
    else:
        fields = torch.randn(2, len(x), 1, *shape, generator=generator)
    amount = strength.reshape(-1, *[1] * (x.dim() - 1))
    return (GAIN * amount * fields[0]).exp() * x + OFFSET * amount * fields[1]


def _places(x: Tensor) -> Tensor:
    """`tasks n (channels) places`: the pixels of an image, or all inputs."""
    return x.flatten(3) if x.dim() == 5 else x.flatten(2)


def _second(order: Tensor) -> Tensor:
    half = order.shape[-1] // 2
    return order[:, half : 2 * half]


def _taken(places: Tensor, index: Tensor) -> Tensor:
    """The places of each task by its own `index`, `tasks k`: `tasks n ... k`."""
    index = index.reshape(len(index), *[1] * (places.dim() - 2), index.shape[-1])
    return places.gather(-1, index.expand(*places.shape[:-1], -1))


@dataclass(frozen=True, kw_only=True)
class ChangedInputs:
    """Lifetimes of the stream `base`, a file in tasks, with changed inputs; see `Changed`.

    `ways`, `shots`, `queries_per_class`, `batch`, `order` and `root` go to the base, where it has
    them; for others, put a stream of your own into `Changed`.
    """

    split: Literal["train", "validation", "test"] = "train"
    order: Literal["iid", "by_class"] = "iid"
    base: str = "clusters"
    change: Change = "mixing"
    strength: float = 1.0
    uniform: bool = False
    ways: int = 5
    shots: int = 10
    queries_per_class: int = 10
    batch: int = 1
    root: str | None = None

    def __post_init__(self) -> None:
        if self.base == "changed_inputs":
            raise ValueError("base is 'changed_inputs' itself; name another stream.")
        self._changed.spec  # noqa: B018  so that errors are raised here

    @cached_property
    def _changed(self) -> Changed:
        known = signature(tasks.stream_class(self.base)).parameters
        given = {
            name: getattr(self, name)
            for name in (
                "split", "order", "ways", "shots", "queries_per_class", "batch", "root"
            )
            if name in known
        }  # fmt: skip
        return Changed(
            stream=tasks.build(self.base, **given), change=self.change, strength=self.strength,
            uniform=self.uniform,
        )  # fmt: skip

    @property
    def spec(self) -> StreamSpec:
        return self._changed.spec

    def sample(self, tasks: int, generator: torch.Generator) -> Episode:
        """`tasks` lifetimes of the base, each with its own change."""
        return self._changed.sample(tasks, generator)
