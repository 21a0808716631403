"""The distribution of data that a rule is found on: characters and digits, changed at random.

Number of classes, length, order, resolution, scale, contrast and polarity vary, and what else is in
an image: another one behind it, and coarse or fine noise. Only training images of Omniglot and
MNIST are used.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.lab.transfer.batched import Lifetimes

LENGTHS = (50, 100, 200, 300)
QUERIES = 60
GRAINS = (1, 2, 4)  # pixels of a spot of noise


@dataclass(frozen=True)
class Source:
    """Images by class: `classes instances height width`, uint8; the last instances are queries."""

    images: Tensor
    held_out: int


def sources() -> list[Source]:
    """Omniglot's training characters and MNIST's training digits.

    Raises:
        DataError: if the files are not there.
    """
    from tasks.mnist import Mnist
    from tasks.omniglot import Omniglot

    digits = Mnist(split="train").images
    return [Source(Omniglot(split="train").images, 5), Source(digits, digits.shape[1] // 5)]


@dataclass(frozen=True)
class Kind:
    """What lifetimes have in common.

    Attributes:
        source: the number of the images' source.
        ways: classes.
        steps: examples.
        iid: shuffled, or one class after another.
        pool: at half the resolution.
        clutter: how much there is of another image behind each, which says nothing of its class.
        noise: standard deviation of spots of `grain` pixels, of an image from 0 to 1.
    """

    source: int
    ways: int
    steps: int
    iid: bool = True
    pool: bool = True
    scale: float = 1.0
    inverted: bool = False
    centered: bool = False
    clutter: float = 0.0
    noise: float = 0.0
    grain: int = 1


def random_kind(given: list[Source], draw: random.Random) -> Kind:
    """A random kind of data."""
    source = draw.choice(range(len(given)))
    ways = min(round(2 ** draw.uniform(1, 4.4)), len(given[source].images))  # 2 to 21
    return Kind(
        source, ways, steps=draw.choice(LENGTHS), iid=draw.random() < 0.75,
        pool=draw.random() < 0.8, scale=10 ** draw.uniform(-0.5, 0.5),
        inverted=draw.random() < 0.3, centered=draw.random() < 0.5,
        clutter=draw.choice((0.0, draw.uniform(0.2, 1.0))),
        noise=draw.choice((0.0, 10 ** draw.uniform(-1.0, 0.0))), grain=draw.choice(GRAINS),
    )  # fmt: skip


def random_lifetimes(given: list[Source], count: int, draw: random.Random) -> Lifetimes:
    """`count` lifetimes of a random kind."""
    return lifetimes_of(given, random_kind(given, draw), count, draw)


def lifetimes_of(given: list[Source], kind: Kind, count: int, draw: random.Random) -> Lifetimes:
    """`count` lifetimes of a kind."""
    source, ways, steps = given[kind.source], kind.ways, kind.steps
    g = torch.Generator().manual_seed(draw.getrandbits(60))
    classes, instances = source.images.shape[:2]
    support = instances - source.held_out
    found: dict[str, list[Tensor]] = {"x": [], "y": [], "query x": [], "query y": []}
    for _ in range(count):
        chosen = torch.randperm(classes, generator=g)[:ways]
        y = torch.arange(steps) % ways
        y = y[torch.randperm(steps, generator=g)] if kind.iid else y.sort().values
        x = source.images[chosen[y], torch.randint(support, (steps,), generator=g)]
        query_y = torch.arange(QUERIES) % ways
        which = support + torch.randint(source.held_out, (QUERIES,), generator=g)
        query_x = source.images[chosen[query_y], which]
        for name, value in zip(found, (x, y, query_x, query_y), strict=True):
            found[name].append(value)

    def prepared(images: list[Tensor]) -> Tensor:
        x = torch.stack(images).unsqueeze(2).float() / 255
        x = _disturbed(x, source.images, kind, g)
        if kind.pool:
            halved = F.avg_pool2d(x.flatten(0, 1), 2)
            x = halved.reshape(*x.shape[:3], *halved.shape[2:])
        x = 1 - x if kind.inverted else x
        x = (x - x.mean()) / x.std() if kind.centered else x
        return x * kind.scale

    seeds = [draw.getrandbits(60) for _ in range(count)]
    return Lifetimes(
        prepared(found["x"]), torch.stack(found["y"]), prepared(found["query x"]),
        torch.stack(found["query y"]), seeds, ways,
    )  # fmt: skip


def _disturbed(x: Tensor, others: Tensor, kind: Kind, g: torch.Generator) -> Tensor:
    """Images `lives n 1 height width`, square, with others, transposed, behind them and noise."""
    if kind.clutter:
        number = x[..., 0, 0, 0].numel()
        which = [torch.randint(size, (number,), generator=g) for size in others.shape[:2]]
        behind = others[which[0], which[1]].mT.reshape(x.shape).float() / 255
        x = torch.maximum(x, kind.clutter * behind)
    if kind.noise:
        high, wide = (-(-side // kind.grain) for side in x.shape[-2:])
        spots = torch.randn(*x.shape[:-2], high, wide, generator=g)
        spots = spots.repeat_interleave(kind.grain, -2).repeat_interleave(kind.grain, -1)
        x = x + kind.noise * spots[..., : x.shape[-2], : x.shape[-1]]
    return x
