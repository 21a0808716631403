"""Convolutions in one, two and three dimensions, and their transposed forms, as operations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from metaplastic.sites.operations import Operation

_RUN: dict[tuple[int, bool], Callable[..., Tensor]] = {
    (1, False): F.conv1d, (2, False): F.conv2d, (3, False): F.conv3d,
    (1, True): F.conv_transpose1d, (2, True): F.conv_transpose2d, (3, True): F.conv_transpose3d,
}  # fmt: skip


def convolution(
    dimensions: int, transposed: bool, weight: Tensor, how: dict[str, Any]
) -> Convolution:
    """The operation of a call of `F.conv2d` and its like, with the arguments that it was given."""

    def numbers(name: str, default: int) -> tuple[int, ...]:
        value = how.get(name, default)
        found = (value,) * dimensions if isinstance(value, int) else tuple(value)
        return found * dimensions if len(found) == 1 else found

    dilation, padding = numbers("dilation", 1), how.get("padding", 0)
    before = after = None
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        before, after = tuple(n // 2 for n in total), tuple(n - n // 2 for n in total)
    elif padding != "valid":
        before = after = numbers("padding", 0)
    zero = (0,) * dimensions
    return Convolution(
        dimensions, transposed, numbers("stride", 1), before or zero, after or zero, dilation,
        int(how.get("groups", 1)), numbers("output_padding", 0),
    )  # fmt: skip


@dataclass(frozen=True)
class Convolution(Operation):
    """A convolution, or a transposed one; a row is an example and position.

    A transposed convolution is a matrix position by position of its input: the units behind a
    synapse are its output channels times the places of the kernel.
    """

    dimensions: int
    transposed: bool
    stride: tuple[int, ...]
    padding: tuple[int, ...]  # zeros before, in each dimension
    padding_after: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    output_padding: tuple[int, ...]

    @property
    def even(self) -> bool:
        """Whether as many zeros are added before as after."""
        return self.padding == self.padding_after

    @property
    def _margin(self) -> tuple[int, ...]:
        return self.padding if self.even else (0,) * self.dimensions

    def _padded(self, x: Tensor) -> Tensor:
        if self.even:
            return x
        both = zip(self.padding[::-1], self.padding_after[::-1], strict=True)
        return F.pad(x, [n for pair in both for n in pair])

    def run(self, x: Tensor, weight: Tensor) -> Tensor:
        run = _RUN[self.dimensions, self.transposed]
        if self.transposed:
            return run(
                x, weight, None, self.stride, self.padding, self.output_padding, self.groups,
                self.dilation,
            )  # fmt: skip
        return run(
            self._padded(x), weight, None, self.stride, self._margin, self.dilation, self.groups
        )

    def carry(self, signal: Tensor, weight: Tensor, like: Tensor) -> Tensor:
        if self.even:
            return self._backward(signal, torch.empty_like(like, dtype=signal.dtype), weight, 0)
        padded = self._backward(signal, self._padded(like.to(signal.dtype)), weight, 0)
        for axis, (before, size) in enumerate(zip(self.padding, like.shape[2:], strict=True), 2):
            padded = padded.narrow(axis, before, size)
        return padded

    def outer(self, signal: Tensor, x: Tensor, like: Tensor) -> Tensor:
        return self._backward(signal, self._padded(x), like, 1)

    def gradients(
        self, signal: Tensor, x: Tensor, carrier: Tensor, needs: Sequence[bool]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """`carry`, `outer` and the sum over examples and positions, in one call of the kernel.

        For an evenly padded convolution (`even`). None where `needs` says so.
        """
        units = carrier.shape[1] * self.groups if self.transposed else len(carrier)
        found: Sequence[Tensor | None] = torch.ops.aten.convolution_backward(
            signal, x, carrier, [units] if needs[2] else None, self.stride, self._margin,
            self.dilation, self.transposed, self.output_padding, self.groups, list(needs),
        )  # fmt: skip
        return found[0], found[1], found[2]

    def _backward(self, signal: Tensor, x: Tensor, weight: Tensor, which: int) -> Tensor:
        wanted = [which == 0, which == 1, False]
        found: Sequence[Tensor] = torch.ops.aten.convolution_backward(
            signal, x, weight, None, self.stride, self._margin, self.dilation, self.transposed,
            self.output_padding, self.groups, wanted,
        )  # fmt: skip
        return found[which]

    def matrix(self, weight: Tensor) -> Tensor:
        by_group = weight.reshape(self.groups, weight.shape[0] // self.groups, -1)
        return by_group.mT if self.transposed else by_group

    def unmatrix(self, matrix: Tensor, like: Tensor) -> Tensor:
        return (matrix.mT if self.transposed else matrix).reshape(like.shape)

    def pre_rows(self, x: Tensor, weight: Tensor) -> Tensor:
        return self._places(x) if self.transposed else self._patches(self._padded(x), weight)

    def post_rows(self, z: Tensor, weight: Tensor) -> Tensor:
        return self._patches(z, weight) if self.transposed else self._places(z)

    @property
    def per_unit(self) -> bool:
        return not self.transposed

    def units_last(self, z: Tensor) -> Tensor:
        return z.movedim(1, -1)

    def units_back(self, z: Tensor) -> Tensor:
        return z.movedim(-1, 1)

    def _places(self, z: Tensor) -> Tensor:
        """`batch channels *size` -> `groups rows channels/groups`."""
        by_group = z.reshape(len(z), self.groups, z.shape[1] // self.groups, -1)
        return by_group.permute(1, 0, 3, 2).flatten(1, 2)

    def _patches(self, x: Tensor, weight: Tensor) -> Tensor:
        """`batch channels *size` -> `groups rows (channels/groups x kernel)`."""
        kernel = tuple(weight.shape[2:])
        if self.dimensions == 2:
            flat = F.unfold(x, kernel, self.dilation, self._margin, self.stride)
            by_group = flat.reshape(len(x), self.groups, -1, flat.shape[-1])
            return by_group.permute(1, 0, 3, 2).flatten(1, 2)
        if any(self._margin):
            x = F.pad(x, [n for margin in self._margin[::-1] for n in (margin, margin)])
        for axis in range(self.dimensions):
            reach = self.dilation[axis] * (kernel[axis] - 1) + 1
            x = x.unfold(axis + 2, reach, self.stride[axis])[..., :: self.dilation[axis]]
        places = math.prod(x.shape[2 : 2 + self.dimensions])
        channels = x.shape[1]
        by_place = x.reshape(len(x), self.groups, channels // self.groups, places, -1)
        return by_place.permute(1, 0, 3, 2, 4).flatten(1, 2).flatten(2)
