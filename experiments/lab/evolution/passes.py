"""Signals by feedback: in one pass, or in two where derivatives of the step are to be exact.

A product whose backward pass is replaced cannot be differentiated twice: the second derivative
would go back through the feedback where it has to go through the weight. So there are two passes,
as in `metaplastic.inner.passes`: one as it is, and one around its values, in which B carries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Product(torch.autograd.Function):
    """`W x`, whose error is carried back by B: matrices `lives post pre`, `lives pre columns`."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, feedback: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(feedback, x)
        return torch.bmm(weight, x)

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None, Tensor | None]:
        feedback, x = ctx.saved_tensors
        back = torch.bmm(feedback.mT, signal) if ctx.needs_input_grad[2] else None
        return torch.bmm(signal, x.mT), None, back


class Tape:
    """The products of two passes, by the number of their weight's parameter."""

    def __init__(self) -> None:
        self.inputs: dict[int, Tensor] = {}
        self.outputs: dict[int, Tensor] = {}
        self.probes: dict[int, Tensor] = {}

    def product(self, number: int, weight: Tensor, feedback: Tensor, x: Tensor) -> Tensor:
        """`W x` in the first pass; in the second the same values, whose error B carries back."""
        if not self.probes:
            self.inputs[number], self.outputs[number] = x, torch.bmm(weight, x)
            return self.outputs[number]
        away = torch.bmm(feedback, x - self.inputs[number])
        return self.outputs[number] + self.probes[number] + away


def pushes(loss: Callable[[list[Tensor], Tape], Tensor], parts: list[Tensor]) -> list[Tensor]:
    """The negative gradient of a loss by feedback, parameter by parameter, with its graph.

    Args:
        loss: of the parameters and a tape; it is called twice.
    """
    tape = Tape()
    loss(parts, tape)
    tape.probes = {n: torch.zeros_like(z).requires_grad_() for n, z in tape.outputs.items()}
    others = {n: part * 1 for n, part in enumerate(parts) if n not in tape.outputs}
    second = loss([others.get(n, part) for n, part in enumerate(parts)], tape)
    sources = [*tape.probes.values(), *others.values()]
    found = torch.autograd.grad(second, sources, create_graph=True)
    # A number that no rule changes would need no graph, but every parameter of a row changes.
    received = dict(zip((*tape.probes, *others), found, strict=True))
    return [
        -torch.bmm(received[n], tape.inputs[n].mT).flatten(1) if n in tape.outputs else -received[n]
        for n in range(len(parts))
    ]
