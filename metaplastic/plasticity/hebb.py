"""Hebb's rule: a weight changes along the product of its two activities."""

from __future__ import annotations

from torch import Tensor

from metaplastic.plasticity.base import PlasticityRule
from metaplastic.plasticity.outer_product import outer_product


class Hebb(PlasticityRule):
    """`rate * sum over rows of p x^T`: fire together, wire together; p is the clamped activity."""

    formula = "dW = a s x'"
    ignores_post = True
    by_row = True
    linear = True
    outer = True

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        return rate * outer_product(signal, pre)
