"""Attention for the distribution of networks: rows or patches of an image look at one another."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Tokens(nn.Module):
    """Rows or patches of an image, each embedded by the same weights, each with a position.

    Args:
        shape: of an image, `channels height width`.
        side: of a patch, a divisor of height and width; None for rows of the image.
        units: of a token.
    """

    def __init__(self, shape: tuple[int, ...], side: int | None, units: int, *, bias: bool) -> None:
        super().__init__()
        channels, height, width = shape
        self.size = (1, width) if side is None else (side, side)
        high, wide = self.size
        self.embed = nn.Linear(channels * high * wide, units, bias=bias)
        tokens = height // high * (width // wide)
        self.position = nn.Parameter(0.1 * torch.randn(tokens, units))

    def cut(self, x: Tensor) -> Tensor:
        """`n channels height width` -> `n tokens pixels`."""
        high, wide = self.size
        n, channels, height, width = x.shape
        patches = x.reshape(n, channels, height // high, high, width // wide, wide)
        return patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.embed(self.cut(x)) + self.position
        return out


class Attention(nn.Module):
    """Self-attention between tokens, `... tokens units` -> the same: four products, one softmax.

    Args:
        heads: a divisor of `units`.
    """

    def __init__(self, units: int, heads: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(units, units), nn.Linear(units, units)
        self.value, self.out = nn.Linear(units, units), nn.Linear(units, units)
        self.heads = heads

    def mixed(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """What each token gets of all, head by head."""
        heads = (*query.shape[:-1], self.heads, query.shape[-1] // self.heads)
        q, k, v = (x.reshape(heads).transpose(-3, -2) for x in (query, key, value))
        weights: Tensor = (q @ k.mT * heads[-1] ** -0.5).softmax(-1)
        return (weights @ v).transpose(-3, -2).flatten(-2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.mixed(self.query(x), self.key(x), self.value(x)))
        return out


class MeanOfTokens(nn.Module):
    """The mean over tokens."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)
