"""The residual networks of the CIFAR experiments: depth 6n + 2 (He et al. 2016), with GroupNorm."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["group", "batch"]


class Block(nn.Module):
    """Two 3x3 convolutions beside the input itself, or its 1x1 projection where sizes change."""

    def __init__(self, before: int, channels: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.one = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.two = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm_one, self.norm_two = normalization(norm, channels), normalization(norm, channels)
        self.skip: nn.Module = nn.Identity()
        if before != channels:
            self.skip = nn.Conv2d(before, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inside = F.relu(self.norm_one(self.one(x)))
        return F.relu(self.norm_two(self.two(inside)) + self.skip(x))


def normalization(norm: Norm, channels: int) -> nn.Module:
    return nn.GroupNorm(8, channels) if norm == "group" else nn.BatchNorm2d(channels)


def residual(
    classes: int = 10, *, depth: int = 20, width: int = 16, norm: Norm = "group"
) -> nn.Sequential:
    """`n 3 height width` -> `n classes`; depth 20 has 22 sites, two of them projections."""
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"depth is {depth}; a network of this kind has 6n + 2 layers: 8, 14, 20.")
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, 3, 1, 1, bias=False), normalization(norm, width), nn.ReLU()
    ]  # fmt: skip
    before = width
    for stage in range(3):
        for block in range(blocks):
            channels, first = width * 2**stage, block == 0
            layers.append(Block(before, channels, 2 if first and stage else 1, norm))
            before = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))
