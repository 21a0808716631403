"""What fires together: sums of outer products, and weights that grow by them."""

from __future__ import annotations

import torch
from torch import Tensor


def coincidence(signal: Tensor, pre: Tensor) -> Tensor:
    """Sum over rows of `p x^T`: `tasks rows post`, `tasks rows pre` -> `tasks post pre`."""
    if pre.shape[1] == 1 and torch.compiler.is_compiling():
        return signal.mT * pre  # a compiler fuses this with what is done to the weights
    return torch.bmm(signal.mT, pre)


def grown(weight: Tensor, pre: Tensor, signal: Tensor, rate: Tensor) -> Tensor:
    """`weight + rate * coincidence(signal, pre)`: `tasks post pre`.

    A rate that all inputs or all outputs share goes into the signal or into the input, so that the
    weights are read and written once instead of four times: that is what a step of one example
    costs. Autocast would round such weights, a compiler fuses the long form.
    """
    posts, pres = rate.shape[-2:]
    rounds = torch.is_autocast_enabled(weight.device.type)
    if (posts > 1 and pres > 1) or rounds or torch.compiler.is_compiling():
        return weight + rate * coincidence(signal, pre)
    if posts == 1:
        return torch.baddbmm(weight, signal.mT, pre * rate)
    return torch.baddbmm(weight, (signal * rate.mT).mT, pre)
