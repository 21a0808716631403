"""A segment of a lifetime that is run again in the backward pass, whatever gradients it takes.

`torch.utils.checkpoint` saves tensors by hooks, which are refused where `torch.func.grad` is called
within. Here inputs are named instead, and the segment is run twice: without a graph, and in the
backward pass with one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Values = dict[str, Tensor]
Segment = Callable[[Values, Values], Values]


def recomputed(
    segment: Segment, weights: Mapping[str, Tensor], given: Mapping[str, Tensor],
    leaves: Sequence[Tensor],
) -> Values:  # fmt: skip
    """`segment(weights, given)`, of which only the arguments are kept.

    Args:
        leaves: all else that the segment uses and that may have a gradient.
    """
    names: list[str] = []
    parts = (list(weights), list(given))
    learned = [leaf for leaf in leaves if leaf.requires_grad]
    tensors = [*weights.values(), *given.values(), *learned]
    run: Any = _Recomputed.apply
    found = run(segment, parts, names, *tensors)
    return dict(zip(names, found, strict=True))


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        segment: Segment,
        parts: tuple[list[str], list[str]],
        names: list[str],
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.segment, ctx.parts, ctx.chance = segment, parts, torch.get_rng_state()
        ctx.save_for_backward(*tensors)
        found = segment(*_named(parts, tensors))
        names += found
        return tuple(value.clone() for value in found.values())  # an output may be no input

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        tensors: tuple[Tensor, ...] = ctx.saved_tensors
        count = sum(map(len, ctx.parts))
        used = [
            tensor.detach().requires_grad_(needed)
            for tensor, needed in zip(tensors[:count], ctx.needs_input_grad[3:], strict=False)
        ]
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            torch.set_rng_state(ctx.chance)  # dropout drops the same units
            found = ctx.segment(*_named(ctx.parts, used))
            outputs = [
                (value, slope)
                for value, slope in zip(found.values(), slopes, strict=True)
                if value.requires_grad
            ]
        inputs = [*used, *tensors[count:]]
        wanted = [tensor for tensor in inputs if tensor.requires_grad]
        slope_of: dict[int, Tensor | None] = {}
        if outputs and wanted:
            values, theirs = zip(*outputs, strict=True)
            slopes_in = torch.autograd.grad(values, wanted, theirs, allow_unused=True)
            slope_of = {id(t): s for t, s in zip(wanted, slopes_in, strict=True)}
        return (None, None, None, *[slope_of.get(id(tensor)) for tensor in inputs])


def _named(parts: tuple[list[str], list[str]], tensors: Sequence[Tensor]) -> tuple[Values, Values]:
    weights, given = parts
    first = dict(zip(weights, tensors, strict=False))
    return first, dict(zip(given, tensors[len(weights) :], strict=False))
