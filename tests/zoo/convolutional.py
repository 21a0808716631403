"""Convolutional networks by hand, one for each kind that the libraries have, and others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.zoo.entry import Entry, images, integers


class Block(nn.Module):
    """Two convolutions beside a shortcut, as in ResNet-18."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.two = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.GroupNorm(2, outputs) for _ in range(2))
        self.past = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.norms[0](self.one(x)))
        return F.relu(self.norms[1](self.two(hidden)) + self.past(x))


class Bottleneck(nn.Module):
    """Narrow, spatial, wide, as in ResNet-50; `groups` as in ResNeXt."""

    def __init__(self, width: int, narrow: int, groups: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(width, narrow, 1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU(inplace=True),
            nn.Conv2d(narrow, narrow, 3, padding=1, groups=groups, bias=False),
            nn.BatchNorm2d(narrow), nn.ReLU(inplace=True),
            nn.Conv2d(narrow, width, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return (self.branch(x) + x).relu_()


class Inverted(nn.Module):
    """Wide, depthwise, narrow, with squeeze and excitation, as in MobileNet and EfficientNet."""

    def __init__(self, width: int, wide: int) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(width, wide, 1), nn.BatchNorm2d(wide), nn.ReLU6())
        self.depth = nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False)
        self.norm = nn.BatchNorm2d(wide)
        self.squeeze, self.excite = nn.Conv2d(wide, 4, 1), nn.Conv2d(4, wide, 1)
        self.project = nn.Conv2d(wide, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.silu(self.norm(self.depth(self.expand(x))))
        gate = self.excite(F.silu(self.squeeze(hidden.mean((2, 3), keepdim=True)))).sigmoid()
        return x + self.project(hidden * gate)


class Modern(nn.Module):
    """A wide depthwise convolution, then a layer for each position, as in ConvNeXt."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depth = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm, self.scale = nn.LayerNorm(width), nn.Parameter(1e-6 * torch.ones(width))
        self.one, self.two = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(self.depth(x).permute(0, 2, 3, 1))
        hidden = self.scale * self.two(F.gelu(self.one(hidden)))
        return x + hidden.permute(0, 3, 1, 2)


class Net(nn.Sequential):
    """A stem, blocks, and a readout of means."""

    def __init__(self, width: int, *blocks: nn.Module, last: int | None = None) -> None:
        stem, readout = nn.Conv2d(3, width, 3, padding=1), nn.Linear(last or width, 4)
        super().__init__(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), readout)


class UNet(nn.Module):
    """Down by pooling, up by transposed convolutions, with what was seen on the way down."""

    def __init__(self) -> None:
        super().__init__()

        def double(inputs: int, outputs: int) -> nn.Module:
            return nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True), nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU(),
            )  # fmt: skip

        widths = (4, 8, 12)
        self.down = nn.ModuleList(double(a, b) for a, b in zip((3, *widths), widths, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in ((8, 12), (4, 8)))
        self.merge = nn.ModuleList(double(2 * a, a) for a in (8, 4))
        self.head = nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        seen = []
        for i, down in enumerate(self.down):
            x = down(x if i == 0 else F.max_pool2d(x, 2))
            seen.append(x)
        for up, merge, beside in zip(self.up, self.merge, seen[-2::-1], strict=True):
            x = merge(torch.cat([up(x), beside], 1))
        return self.head(x)


def volumes() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(2, 6, (1, 3, 3), padding=(0, 1, 1)), nn.BatchNorm3d(6), nn.ReLU(),
        nn.Conv3d(6, 8, (3, 1, 1), stride=(2, 1, 1), bias=False), nn.InstanceNorm3d(8, affine=True),
        nn.ReLU(), nn.MaxPool3d((1, 2, 2)), nn.Conv3d(8, 8, 2, groups=2), nn.ELU(), nn.Flatten(),
        nn.Linear(32, 4),
    )  # fmt: skip


def waves() -> nn.Module:
    """Dilated convolutions over time with gates, as in WaveNet."""

    class Gated(nn.Module):
        def __init__(self, dilation: int) -> None:
            super().__init__()
            self.both = nn.Conv1d(6, 12, 2, dilation=dilation)
            self.past, self.reach = nn.Conv1d(6, 6, 1), dilation

        def forward(self, x: Tensor) -> Tensor:
            one, two = self.both(F.pad(x, (self.reach, 0))).chunk(2, 1)
            return x + self.past(one.tanh() * two.sigmoid())

    return nn.Sequential(
        nn.Conv1d(2, 6, 1), *(Gated(2**i) for i in range(3)), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
        nn.Linear(6, 4),
    )  # fmt: skip


X, Y = images(4, 3, 8, 8), integers(4, 4)
ENTRIES = [
    Entry("ResNet-18 by hand", lambda: Net(6, Block(6, 6, 1), Block(6, 8, 2), last=8), Y, (X,)),
    Entry("ResNet-50 by hand", lambda: Net(12, *(Bottleneck(12, 4, 1) for _ in "12")), Y, (X,)),
    Entry("ResNeXt by hand", lambda: Net(12, *(Bottleneck(12, 6, 3) for _ in "12")), Y, (X,)),
    Entry("MobileNet by hand", lambda: Net(6, Inverted(6, 12), Inverted(6, 12)), Y, (X,)),
    Entry("ConvNeXt by hand", lambda: Net(6, Modern(6), Modern(6)), Y, (X,)),
    Entry("U-Net by hand", UNet, integers(3, 2, 8, 8), (X[:2],), loss=F.cross_entropy),
    Entry("3-D CNN by hand", volumes, Y, (images(4, 2, 6, 6, 6),)),
    Entry("WaveNet by hand", waves, Y, (images(4, 2, 16),)),
]
