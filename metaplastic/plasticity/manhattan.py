"""Batch Manhattan: a synapse is told in which direction to go, and not how far."""

from __future__ import annotations

from torch import Tensor

from metaplastic.plasticity.base import Delta
from metaplastic.plasticity.coincidence import coincidence


class Manhattan(Delta):
    """`rate sign(sum over rows of signal x pre)`, biases as in the delta rule.

    Liao, Leibo & Poggio (2016), batch Manhattan.
    """

    ignores_post = True

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        return rate * coincidence(signal, pre).sign()

    def finish(self, gradient: Tensor) -> Tensor:
        return gradient.sign()
