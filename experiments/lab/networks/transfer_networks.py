"""Networks for the transfer of rules.

`familiar` has the architecture of `experiments/methods/polynomial.py`. `wide` and `deep` change its
width or depth; `conv` and `residual` have convolutions, biases, rectifiers and norms, `depthwise` a
filter for each channel, `transformer` attention. All end in a Linear; weights are sampled
Kaiming-normal, as in meta-training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from experiments.lab.networks.residual import Block
from experiments.methods.polynomial import SHARPNESS, WIDTHS
from metaplastic.support.seeding import global_seed, seeded

Shape = tuple[int, ...]  # of one image: channels height width


def network(name: str, shape: Shape, outputs: int, seed: int) -> nn.Sequential:
    """The network of this name for images of a shape; its weights depend on the seed alone."""
    with global_seed(torch.device("cpu"), "overwritten"):
        made = NETWORKS[name](shape, outputs)
    generator = seeded(seed, "weights")
    for module in made.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, nn.MultiheadAttention):
            nn.init.xavier_uniform_(module.in_proj_weight, generator=generator)
    return made


def dense(widths: Sequence[int]) -> Callable[[Shape, int], nn.Sequential]:
    """Fully connected layers of these hidden widths, without biases."""

    def made(shape: Shape, outputs: int) -> nn.Sequential:
        layers: list[nn.Module] = [nn.Flatten()]
        for fan_in, fan_out in pairwise((prod(shape), *widths, outputs)):
            layers += [nn.Linear(fan_in, fan_out, bias=False), nn.Softplus(SHARPNESS)]
        return nn.Sequential(*layers[:-1])

    return made


def conv(shape: Shape, outputs: int) -> nn.Sequential:
    """Two convolutions that halve the image, and two Linear layers."""
    body = nn.Sequential(
        nn.Conv2d(shape[0], 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
        nn.Flatten(),
    )  # fmt: skip
    return nn.Sequential(*body, nn.Linear(features(body, shape), 64), nn.ReLU(),
                         nn.Linear(64, outputs))  # fmt: skip


def residual(shape: Shape, outputs: int) -> nn.Sequential:
    """Three blocks of two convolutions beside their input, with GroupNorm: nine sites."""
    body = nn.Sequential(
        nn.Conv2d(shape[0], 16, 3, 2, 1, bias=False), nn.GroupNorm(8, 16), nn.ReLU(),
        Block(16, 16, 1, "group"), Block(16, 32, 2, "group"), Block(32, 32, 1, "group"),
        nn.AdaptiveAvgPool2d(3), nn.Flatten(),
    )  # fmt: skip
    return nn.Sequential(*body, nn.Linear(features(body, shape), outputs))


class Tokens(nn.Module):
    """The places of a feature map as tokens, each with a position that is learned."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x.flatten(2).mT + self.position
        return out


class MeanToken(nn.Module):
    """The mean over tokens."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def transformer(shape: Shape, outputs: int) -> nn.Sequential:
    """Sixteen patches, two blocks of attention with four heads."""
    width, side = 48, shape[-1] // 4
    blocks = [
        nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        for _ in range(2)
    ]
    return nn.Sequential(nn.Conv2d(shape[0], width, side, side), Tokens(16, width), *blocks,
                         nn.LayerNorm(width), MeanToken(), nn.Linear(width, outputs))  # fmt: skip


def depthwise(shape: Shape, outputs: int) -> nn.Sequential:
    """Three depthwise convolutions, each before one of 1x1, with GroupNorm."""

    def separable(inputs: int, channels: int, stride: int) -> list[nn.Module]:
        return [
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
            nn.Conv2d(inputs, channels, 1, bias=False), nn.GroupNorm(4, channels), nn.ReLU(),
        ]  # fmt: skip

    body = nn.Sequential(
        nn.Conv2d(shape[0], 16, 3, 2, 1, bias=False), nn.GroupNorm(4, 16), nn.ReLU(),
        *separable(16, 24, 1), *separable(24, 32, 2), *separable(32, 48, 1),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(),
    )  # fmt: skip
    return nn.Sequential(*body, nn.Linear(features(body, shape), outputs))


def features(body: nn.Sequential, shape: Shape) -> int:
    with torch.no_grad():
        answer: Tensor = body(torch.zeros(1, *shape))
    return answer.shape[1]


NETWORKS: dict[str, Callable[[Shape, int], nn.Sequential]] = {
    "familiar": dense(WIDTHS["laptop"]),
    "wide": dense(tuple(4 * units for units in WIDTHS["laptop"])),
    "deep": dense((100, 100, 80, 80, 60, 60, 40, 40)),
    "conv": conv,
    "residual": residual,
    "transformer": transformer,
    "depthwise": depthwise,
}
