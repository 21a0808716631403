"""The residual networks of the CIFAR experiments (He et al. 2016): depth 6n + 2, and ResNet-18.

The narrow ones have GroupNorm unless another norm is given, and projections without a norm;
ResNet-18 is as it is commonly built for 32x32 images: BatchNorm everywhere, a 3x3 stem and no first
pooling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["group", "batch"]


class Block(nn.Module):
    """Two 3x3 convolutions beside the input itself, or its 1x1 projection where sizes change."""

    def __init__(
        self, before: int, channels: int, stride: int, norm: Norm, *, norm_skip: bool = False
    ) -> None:
        super().__init__()
        self.one = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.two = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm_one, self.norm_two = normalization(norm, channels), normalization(norm, channels)
        self.skip: nn.Module = nn.Identity()
        if before != channels:
            self.skip = nn.Conv2d(before, channels, 1, stride, bias=False)
            if norm_skip:
                self.skip = nn.Sequential(self.skip, normalization(norm, channels))

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
    return _network(classes, [blocks] * 3, width, norm, norm_skip=False)


def resnet18(classes: int = 10, *, width: int = 64, norm: Norm = "batch") -> nn.Sequential:
    """`n 3 height width` -> `n classes`: 21 sites, three of them projections; 11.2 M parameters."""
    return _network(classes, [2] * 4, width, norm, norm_skip=True)


def _network(
    classes: int, stages: Sequence[int], width: int, norm: Norm, *, norm_skip: bool
) -> nn.Sequential:
    """So many blocks a stage; each stage has twice the channels of the last, on half the side."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, 3, 1, 1, bias=False), normalization(norm, width), nn.ReLU()
    ]  # fmt: skip
    before = width
    for stage, blocks in enumerate(stages):
        for block in range(blocks):
            channels, stride = width * 2**stage, 2 if stage and block == 0 else 1
            layers.append(Block(before, channels, stride, norm, norm_skip=norm_skip))
            before = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))
