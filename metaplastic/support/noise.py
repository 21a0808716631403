"""Random numbers as a function of a key and a counter: no state, and the same on every device.

A lifetime samples feedback, weights and noise while it runs, on any device, under `vmap` over
tasks, inside a compiled graph, and again when it is resumed or recomputed. So a number here depends
on nothing but (seed, name, step, position). All arithmetic is on integers below 2^63, exact
everywhere; a normal number is read from a table of 2^16 quantiles, made once on the processor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TypeVar
from zlib import crc32

import torch
from torch import Tensor

BITS = 0xFFFFFFFF
_FIRST, _SECOND = 0x45D9F3B, 0x21F0AAAD  # odd and below 2^31, so that no product passes 2^63
_QUANTILES = 1 << 16
Function = TypeVar("Function", bound=Callable[..., object])


def _constant_in_graphs(function: Function) -> Function:
    """What `torch.compiler.assume_constant_result` does after it has imported the compiler.

    That import is slow, and most programs compile nothing.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def fold(seed: Tensor | int, *parts: int | str | Tensor) -> Tensor:
    """A key, int64 in [0, 2^32), fixed by a seed and names, numbers or integer tensors.

    Args:
        seed: int64, any shape; the key has the same.
        parts: what else it depends on: a name, a step, the number of a draw.
    """
    key = seed if isinstance(seed, Tensor) else torch.tensor(seed, dtype=torch.int64)
    key = _mix((key & BITS) ^ _mix((key >> 32) & BITS))
    for part in parts:
        number = _number(part) if isinstance(part, str) else part
        low = number & BITS
        key = _mix(key ^ (_mix(low) if isinstance(low, Tensor) else _mixed(low)))
    return key


@_constant_in_graphs
def _number(name: str) -> int:
    return crc32(name.encode())


def feedback_key(seed: Tensor | int, site: str) -> Tensor:
    """The key of a site's first feedback weights in the lifetime of this seed."""
    return fold(seed, "feedback", site)


def bits(key: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Independent integers in [0, 2^32), of the shape, for one key (a scalar)."""
    counter = torch.arange(math.prod(shape), device=key.device).reshape(shape)
    return _mix(_mix(counter + _mix(key ^ 0x5BD1E995)) ^ key)


def uniform(key: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Uniform numbers in (0, 1), of 24 bits: the same in float32 and float64."""
    return ((bits(key, shape) >> 8).to(dtype) + 0.5) * 2.0**-24


def normal(key: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Normal numbers of mean 0 and variance 1, within 4.17 deviations."""
    table: Tensor = _table(dtype, key.device)
    return table[bits(key, shape) >> 16]


def xavier_deviation(weight: Tensor) -> float:
    """`sqrt(2 / (fan-in + fan-out))` of a weight `post pre ...`, kernels counted in both."""
    return math.sqrt(2 / (weight[0].numel() + len(weight) * weight[0][0].numel()))


def _mix(x: Tensor) -> Tensor:
    """A bijection of 32-bit integers whose every output bit depends on every input bit."""
    x = (((x >> 16) ^ x) * _FIRST) & BITS
    x = (((x >> 16) ^ x) * _SECOND) & BITS
    return (x >> 16) ^ x


def _mixed(x: int) -> int:
    x = (((x >> 16) ^ x) * _FIRST) & BITS
    x = (((x >> 16) ^ x) * _SECOND) & BITS
    return (x >> 16) ^ x


@_constant_in_graphs
def _table(dtype: torch.dtype, device: torch.device) -> Tensor:
    return _quantiles(dtype, device)


@cache
def _quantiles(dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():
        middle = (torch.arange(_QUANTILES, dtype=torch.float64) + 0.5) / _QUANTILES
        table: Tensor = torch.special.ndtri(middle)
        return (table / table.square().mean().sqrt()).to(dtype).to(device)
