"""Networks for the transfer of rules.

`familiar` has the architecture of `experiments/methods/polynomial.py`. `wide` and `deep` change its
width or depth; `conv` and `residual` have convolutions, biases, rectifiers and norms. All end in a
Linear; weights are sampled Kaiming-normal, as in meta-training.
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
}
