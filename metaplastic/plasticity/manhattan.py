"""Batch Manhattan: the sign of a gradient without its size."""

from __future__ import annotations

from torch import Tensor

from metaplastic.plasticity.delta import Delta
from metaplastic.plasticity.outer_product import outer_product


class Manhattan(Delta):
    """`rate sign(sum over rows of signal x pre)`, biases as in the delta rule.

    Liao, Leibo & Poggio (2016), batch Manhattan.
    """

    formula = "dW = a sign(s x')"
    ignores_post = True
    sign_of_outer = True

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        return rate * outer_product(signal, pre).sign()

    def finish(self, gradient: Tensor) -> Tensor:
        return gradient.sign()
