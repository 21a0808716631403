"""The distribution of networks that a rule is found on: dense, residual, convolutional, attention.

Widths, depths, nonlinearities, norms, biases and initializations vary. None of the networks that
transfer is tested on (`experiments/lab/networks/transfer_networks.py`) is among them: those are
wider, deeper, or of another kind (convolutions beside their input, depthwise, a transformer of two
blocks with convolutional patches, a packed projection and four heads of 12 units).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from math import prod

import torch
from torch import Tensor, nn

from experiments.lab.evolution.attention import Attention, MeanOfTokens, Tokens
from metaplastic.support.seeding import global_seed, seeded

Shape = tuple[int, ...]
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "leaky": lambda: nn.LeakyReLU(0.1),
    "softplus": lambda: nn.Softplus(10),
}  # fmt: skip
KINDS = ("dense", "dense", "residual dense", "conv", "conv", "attention")
INITIALIZATIONS = ("kaiming", "default", "xavier")
WIDE = 2  # lifetimes of a wide network, at most
WIDEST_TOKENS = 32  # units; a step has as many rows as there are tokens


class Beside(nn.Module):
    """A block beside its input."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of `number` that is not above `limit`."""
    return next(size for size in range(min(number, limit), 0, -1) if number % size == 0)


def random_network(
    shape: Shape,
    outputs: int,
    draw: random.Random,
    *,
    wide: bool = False,
    kind: str | None = None,
) -> Callable[[int], nn.Module]:
    """A random architecture; what is returned makes it with the weights of a seed.

    Args:
        kind: one of `KINDS`, in the place of a random one.
        wide: dense, of 128 to 256 units, with few lifetimes for what they cost.
    """
    kind = draw.choice(KINDS) if kind is None else kind
    kind = "dense" if wide else kind
    activation, bias = ACTIVATIONS[draw.choice(list(ACTIVATIONS))], draw.random() < 0.7
    how, normed = draw.choice(INITIALIZATIONS), draw.random() < 0.3
    width = round(2 ** draw.uniform(4.6, 6.6))  # 24 to 97
    width = 2 * draw.randint(64, 128) if wide else width
    depth = draw.randint(1, 5)
    channels = [draw.choice((6, 8, 12, 16)) for _ in range(draw.randint(1, 3))]
    kernel = draw.choice((3, 5)) if shape[-1] < 20 else 3
    # Rows of the image, or patches of about a quarter of its side.
    heads, before, fed_forward = draw.choice((1, 2, 3)), draw.random() < 0.7, draw.random() < 0.5
    side = draw.choice((None, largest_divisor(shape[-1], max(2, shape[-1] // 3))))

    def dense() -> list[nn.Module]:
        layers: list[nn.Module] = [nn.Flatten()]
        size = prod(shape)
        for _ in range(depth):
            layers += [nn.Linear(size, width, bias=bias)]
            layers += [nn.LayerNorm(width)] if normed else []
            layers += [activation()]
            size = width
        return [*layers, nn.Linear(size, outputs, bias=bias)]

    def residual() -> list[nn.Module]:
        blocks = [
            Beside(nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, width, bias=bias), activation(),
                nn.Linear(width, width, bias=bias),
            ))
            for _ in range(max(1, depth // 2))
        ]  # fmt: skip
        first = nn.Linear(prod(shape), width, bias=bias)
        return [nn.Flatten(), first, activation(), *blocks, nn.LayerNorm(width),
                nn.Linear(width, outputs, bias=bias)]  # fmt: skip

    def conv() -> list[nn.Module]:
        layers: list[nn.Module] = []
        size = shape[0]
        for number in channels:
            layers += [nn.Conv2d(size, number, kernel, 2, kernel // 2, bias=bias)]
            layers += [nn.GroupNorm(2, number)] if normed else []
            layers += [activation()]
            size = number
        layers += [nn.Flatten()]
        with torch.no_grad():
            features = nn.Sequential(*layers)(torch.zeros(1, *shape)).shape[1]
        return [*layers, nn.Linear(features, outputs, bias=bias)]

    def attention() -> list[nn.Module]:
        units = heads * max(1, min(width, WIDEST_TOKENS) // heads)
        tokens = Tokens(shape, side, units, bias=bias)
        block: list[nn.Module] = [nn.LayerNorm(units)] if before else []
        layers: list[nn.Module] = [tokens, Beside(nn.Sequential(*block, Attention(units, heads)))]
        if fed_forward:
            block = [nn.LayerNorm(units)] if before else []
            block += [nn.Linear(units, units, bias=bias), activation(),
                      nn.Linear(units, units, bias=bias)]  # fmt: skip
            layers += [Beside(nn.Sequential(*block))]
        return [*layers, nn.LayerNorm(units), MeanOfTokens(), nn.Linear(units, outputs, bias=bias)]

    layers = {
        "dense": dense, "residual dense": residual, "conv": conv, "attention": attention,
    }[kind]  # fmt: skip

    def make(seed: int) -> nn.Module:
        with global_seed(torch.device("cpu"), seed):
            made = nn.Sequential(*layers())
        generator = seeded(seed, "weights")
        for module in made.modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and how != "default":
                start = nn.init.kaiming_normal_ if how == "kaiming" else nn.init.xavier_normal_
                start(module.weight, generator=generator)
        return made

    return make
