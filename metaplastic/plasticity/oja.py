"""Oja's rule by an explicit and by an implicit step: Hebb with a decay that bounds the weights."""

from __future__ import annotations

from torch import Tensor

from metaplastic.plasticity.base import PlasticityRule
from metaplastic.plasticity.outer_product import outer_product


class Oja(PlasticityRule):
    """Hebb with a decay: `rate * sum over rows of (p x^T - p^2 W)`.

    Oja (1982), with the clamped activity p in place of the neuron's own output, as in Lindsey &
    Litwin-Kumar (2020); both terms are summed over rows, as in their code. A rate may be negative.
    """

    formula = "dW = a (s x' - s^2 W)"
    ignores_post = True
    by_row = True
    linear = True

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        decay = signal.square().sum(1)[:, :, None] * weight
        return rate * (outer_product(signal, pre) - decay)


class StableOja(PlasticityRule):
    """Oja's rule by an implicit step, which does not overshoot at any size of the signal.

    Oja's explicit step multiplies a weight by `1 - a s`, s the summed squared activity of its
    neuron; once `a s > 2` the weights oscillate and diverge, as they do in Oja networks with the
    error as signal. Taking the decay at the *new* weight gives
    `W' = (W + a p x^T) / (1 + a s)`: the same rule to first order in a, the same fixed point,
    and a contraction for every `a > 0`. A negative rate would have a pole, so its absolute
    value is used for the decay.
    """

    formula = "dW = (a s x' - |a| s^2 W) / (1 + |a| s^2)"
    ignores_post = True
    by_row = True
    linear = True

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        power = signal.square().sum(1)[:, :, None]
        change = rate * outer_product(signal, pre) - rate.abs() * power * weight
        return change / (1 + rate.abs() * power)
