"""Hebb's rule divided by the power of its input."""

from __future__ import annotations

from torch import Tensor

from metaplastic.plasticity.base import PlasticityRule
from metaplastic.plasticity.outer_product import outer_product


class NormalizedHebb(PlasticityRule):
    """Hebb divided by the power of its input: `rate * sum of p x^T / (1e-3 + mean of |x|^2)`.

    Normalized least mean squares (Nagumo & Noda 1967). A readout whose signal is its error
    overshoots once `rate * |x|^2` passes 2; here that bound is on the rate alone, the same for
    every site and every scale of activity, so meta-training may start from large rates. The power
    is that of all inputs of a neuron: divisive normalization by a layer, which one synapse cannot
    compute.
    """

    formula = "dW = a s x' / (0.001 + |x|^2)"
    ignores_post = True
    by_row = True
    linear = True

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        power = pre.square().sum(-1).mean(1)[:, None, None]
        return rate * outer_product(signal, pre) / (1e-3 + power)
