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

from metaplastic.sites.convolution import Convolution
from metaplastic.sites.found import Sites
from metaplastic.sites.names import bare
from metaplastic.sites.network import Network
from metaplastic.sites.products import Product, Products

Carry = Callable[[Product, Tensor, Tensor], Tensor]  # product, signal, its input
Carrier = Callable[[Product], Tensor]  # what carries signals back through a product, as its weight
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
        carry, ctx.carry = ctx.carry, None  # which holds the input
        return signal, carry(signal), None


class _Convolved(torch.autograd.Function):
    """A convolution whose input gets its gradient through other weights: one call for all three."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, product: Product, carrier: Carrier
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.product, ctx.carrier, ctx.biased = product, carrier, bias is not None
        return product.call(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor | None, ...]:
        x, _ = ctx.saved_tensors
        needs = [*ctx.needs_input_grad[:2], ctx.biased and ctx.needs_input_grad[2]]
        product, carrier = ctx.product, ctx.carrier(ctx.product)
        ctx.product = ctx.carrier = None  # which hold the input, whose memory is needed from here
        found = product.operation.gradients(signal, x, carrier, needs)
        return (*found, None, None)


@contextmanager
def rerouted(
    model: nn.Module,
    sites: Sites,
    carry: Carry | None,
    watch: Watch | None = None,
    plastic: list[str] | None = None,
    carrier: Carrier | None = None,
) -> Iterator[None]:
    """Send errors through `carry` at every site while the context lasts.

    Args:
        watch: is shown every product of a site and its output.
        carrier: the weights of `carry`, where it is a product with weights of the site's shape.
    """

    def at(product: Product) -> Tensor:
        x = product.x
        takes = carry is not None and torch.is_grad_enabled() and x.requires_grad
        if not takes:
            found: Tensor | None = product.call(x)
        else:
            found = _whole(product, carrier) if carrier is not None else None
            if found is None:
                assert carry is not None
                like = x.detach()
                through: Any = _Through.apply
                found = through(product.call(like), x, lambda s: carry(product, s, like))
        assert found is not None
        if watch is not None:
            watch(product, found)
        return found

    network = Network(bare(model), sites, plastic)
    with network.mode(Products, at, {}, {}):
        yield


def _whole(product: Product, carrier: Carrier) -> Tensor | None:
    """A convolution with its own backward pass; None for any other product."""
    operation, x = product.operation, product.x
    plain = isinstance(operation, Convolution) and operation.even and not product.source.views
    same = x.dtype == product.weight.dtype and not torch.is_autocast_enabled(x.device.type)
    if not plain or not same:
        return None
    convolve: Any = _Convolved.apply
    found: Tensor = convolve(x, product.weight, product.added, product, carrier)
    return found


def runnable(model: nn.Module) -> nn.Module:
    """The model without `torch.compile` round it: a compiled graph does not show its products."""
    while (inside := getattr(model, "_orig_mod", None)) is not None:
        model = inside
    return model
