"""An error's other way: a forward pass as ever, whose backward pass goes through other weights.

Hooks are put on the sites for the length of a `with` and then taken off, so the model is never
changed. Within it a site's weight and bias get their exact local gradients, from its own operation,
and its input gets what is carried there instead of backpropagation's error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from metaplastic.sites.credit_sites import Meeting, bare

Carry = Callable[[str, Meeting, Tensor, Tensor], Tensor]  # site, map, signal, its padded input
Watch = Callable[[str, Tensor, Tensor], None]  # site, its padded input, its output


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
    model: nn.Module, sites: Mapping[str, str], carry: Carry | None, watch: Watch | None = None
) -> Iterator[None]:
    """Send errors through `carry` at every site while the context lasts.

    `watch` is shown every call of a site. First derivatives only: a gradient of the gradient would
    be taken through the rerouted pass (`credit_exact` is for that), so autograd refuses it.
    """
    model, handles = bare(model), []
    for name, owner in sites.items():
        handles += _hooks(model.get_submodule(name), owner, carry, watch)
        if name != owner and model.get_submodule(name) is model.get_submodule(owner):
            for handle in handles[-2:]:  # one module under two names is hooked once
                handle.remove()
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hooks(module: Any, name: str, carry: Carry | None, watch: Watch | None) -> list[Any]:
    meeting, waiting = Meeting(module), []  # inputs of calls that have not come back yet

    def before(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x, *rest = given
        waiting.append(x)
        takes = carry is not None and torch.is_grad_enabled() and x.requires_grad
        return (x.detach() if takes else x, *rest)

    def after(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
        x = waiting.pop()
        takes = carry is not None and torch.is_grad_enabled() and x.requires_grad
        if watch is not None or takes:
            x = meeting.padded(x)
        if takes:
            assert carry is not None
            like = x.detach()
            route: Any = _Through.apply
            out = route(out, x, lambda signal: carry(name, meeting, signal, like))
        if watch is not None:
            watch(name, x, out)
        return out

    return [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
