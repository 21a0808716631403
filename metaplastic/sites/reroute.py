"""An error's other way: a forward pass as ever, whose backward pass goes through other weights.

Within the context a site's weight and bias get their exact local gradients, from their own
operation, and its input gets what is carried there instead of backpropagation's error. The model is
not changed. One pass, and first derivatives only: a gradient of the gradient would be taken through
the rerouted pass, so autograd refuses it (`inner.passes` is for that).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from metaplastic.sites.found import Sites
from metaplastic.sites.names import bare
from metaplastic.sites.network import Network
from metaplastic.sites.products import Product

Carry = Callable[[Product, Tensor, Tensor], Tensor]  # product, signal, its input
Watch = Callable[[Product, Tensor], None]  # product, its output


class _Through(torch.autograd.Function):
    """The site's output as it is, made to depend on the input by a pullback of one's own."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, x: Tensor, carry: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.carry = carry
        ctx.mark_dirty(out)  # not a view: what follows may write over it, as ReLU(inplace=True)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, Tensor, None]:
        return signal, ctx.carry(signal), None


@contextmanager
def rerouted(
    model: nn.Module,
    found: Sites,
    carry: Carry | None,
    watch: Watch | None = None,
    plastic: list[str] | None = None,
) -> Iterator[None]:
    """Send errors through `carry` at every site while the context lasts.

    `watch` is shown every product of a site and its output.
    """
    from metaplastic.sites.products import Products

    def at(product: Product) -> Tensor:
        x = product.x
        takes = carry is not None and torch.is_grad_enabled() and x.requires_grad
        if not takes:
            out = product.call(x)
        else:
            assert carry is not None
            like = x.detach()
            through: Any = _Through.apply
            out = through(product.call(like), x, lambda s: carry(product, s, like))
        if watch is not None:
            watch(product, out)
        return out

    network = Network(bare(model), found, plastic)
    with network.mode(Products, at, {}, {}):
        yield


def runnable(model: nn.Module) -> nn.Module:
    """The model without `torch.compile` round it: a compiled graph does not show its products."""
    while (inside := getattr(model, "_orig_mod", None)) is not None:
        model = inside
    return model
