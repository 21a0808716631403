"""Outer products of signal and input, summed over rows, and weights updated by them."""

from __future__ import annotations

import torch
from torch import Tensor

from metaplastic.support.renamed import former_names

__getattr__ = former_names(globals(), coincidence="outer_product", grown="add_outer_product")


def outer_product(signal: Tensor, pre: Tensor) -> Tensor:
    """Sum over rows of `p x^T`: `tasks rows post`, `tasks rows pre` -> `tasks post pre`."""
    if pre.shape[1] == 1 and (
        torch.compiler.is_compiling()  # which fuses this with the update of the weights
        or not torch.is_grad_enabled()  # backwards, two products of matrices are the quicker way
        or signal.shape[2] == 1  # but not for one unit, where they have a single row
    ):
        return signal.mT * pre
    return torch.bmm(signal.mT, pre)


def add_outer_product(weight: Tensor, pre: Tensor, signal: Tensor, rate: Tensor) -> Tensor:
    """`weight + rate * outer_product(signal, pre)`: `tasks post pre`.

    A rate that all inputs or all outputs share is multiplied into the signal or into the input, so
    that the weights are read and written once instead of four times: that is the cost of a step of
    one example. Autocast would round the weights, and a compiler fuses the plain form.
    """
    posts, pres = rate.shape[-2:]
    kind = weight.device.type
    rounds = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    if (posts > 1 and pres > 1) or rounds or torch.compiler.is_compiling():
        return weight + rate * outer_product(signal, pre)
    if posts == 1:
        return torch.baddbmm(weight, signal.mT, pre * rate)
    return torch.baddbmm(weight, (signal * rate.mT).mT, pre)
