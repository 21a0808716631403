"""The delta rule: a weight changes along the outer product of error signal and input."""

from __future__ import annotations

from torch import Tensor

from metaplastic.plasticity.base import PlasticityRule
from metaplastic.plasticity.outer_product import outer_product


class Delta(PlasticityRule):
    """The delta rule: Hebb on a negative gradient; biases move too. With `Backprop`, plain SGD."""

    formula = "dW = a s x'"
    ignores_post = True
    outer = True
    moves_bias = True
    moves_others = True
    averages_positions = False  # the gradient of a convolution is the sum over its positions

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        return rate * outer_product(signal, pre)
