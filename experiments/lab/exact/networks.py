"""Tiny networks, one of each kind that a rule must serve alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 3


class Tiny(NamedTuple):
    """How to make a network, and the shape of one input."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]

    def make(self, dtype: torch.dtype) -> nn.Module:
        """The network, the same at every call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made = self.build().to(dtype)
            for parameter in made.parameters():
                if parameter.dim() == 1:  # a bias of 0 has no size that a difference could have
                    parameter.data += 0.2 * torch.randn_like(parameter)
        return made


class Residual(nn.Module):
    """A convolution, another around which its input goes too, norms, a mean over places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.head = nn.GroupNorm(2, 4), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = x + self.branch(F.relu(self.norm(x)))
        out: Tensor = self.head(x.mean((2, 3)))
        return out


class Attention(nn.Module):
    """One block of attention over four tokens, a norm before it, and a mean over tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.attend = nn.LayerNorm(4), nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        x = x + self.attend(h, h, h, need_weights=False)[0]
        out: Tensor = self.head(x.mean(1))
        return out


class OwnMatrices(nn.Module):
    """Matrices that the module holds itself, `inputs outputs`, met by `addmm` and by `@`."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(0.3 * torch.randn(5, 8))
        self.bias = nn.Parameter(torch.zeros(8))
        self.second = nn.Parameter(0.3 * torch.randn(8, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.first).tanh() @ self.second


class Kernels(nn.Module):
    """A grouped convolution, a transposed one, one over time: kernels of other kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(2, 4, 3, padding=1, groups=2)
        self.transposed = nn.ConvTranspose2d(4, 2, 2, stride=2)
        self.over_time = nn.Conv1d(2, 3, 4, stride=2, dilation=2)
        self.head = nn.Linear(3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.transposed(self.grouped(x).relu()).tanh()
        out: Tensor = self.head(self.over_time(x.flatten(2)).mean(-1))
        return out


def dense() -> nn.Module:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, CLASSES)
    )  # fmt: skip


def convolutional() -> nn.Module:
    """A convolution with stride, a norm, a readout."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2), nn.GroupNorm(2, 4), nn.Tanh(), nn.Flatten(),
        nn.Linear(16, CLASSES),
    )  # fmt: skip


NETWORKS: dict[str, Tiny] = {
    "mlp": Tiny(dense, (5,)),
    "conv": Tiny(convolutional, (2, 6, 6)),
    "residual": Tiny(Residual, (2, 5, 5)),
    "attention": Tiny(Attention, (4, 4)),
    "own matrices": Tiny(OwnMatrices, (5,)),
    "kernels": Tiny(Kernels, (2, 3, 3)),
}
