"""The networks of the checks, and their initialization."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid,
}  # fmt: skip


def layered(sizes: Sequence[int], activation: str) -> nn.Sequential:
    """Fully connected, the activation between layers but not after the last."""
    layers: list[nn.Module] = [nn.Flatten()]
    for pre, post in pairwise(sizes):
        layers += [nn.Linear(pre, post), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def lenet() -> nn.Sequential:
    """Three 5x5 convolutions and two linear layers for 32x32 color, the widths of biotorch's."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 5), nn.ReLU(), nn.Flatten(),
        nn.Linear(128, 84), nn.Linear(84, 10),
    )  # fmt: skip


@torch.no_grad()
def initialize(model: nn.Module, gain: float, seed: int) -> None:
    """Weights normal with deviation `gain sqrt(2 / (fan_in + fan_out))`, biases zero."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            weight = module.weight
            fans = weight[0].numel() + len(weight) * weight[0][0].numel()
            deviation = gain * math.sqrt(2 / fans)
            module.weight.normal_(0, deviation, generator=generator)
            if module.bias is not None:
                module.bias.zero_()
