"""Activation alignment: the products of feedback and forward weights with an input are aligned."""

from __future__ import annotations

from metaplastic.alignment.base import Coefficient
from metaplastic.alignment.primitives import Inputs, RegularizedAlignment
from metaplastic.rules.credit_rule import CreditRule
from metaplastic.rules.references import KUNIN_2020


class ActivationAlignment(CreditRule):
    """Kunin et al. (2020). With W held, B converges to `amp / (2 sparse) W` if C is invertible."""

    alias = ("aa",)
    formula = "dB = -rate (2 sparse B C - amp W C), C = E x x^T"
    local = "no: projections of W and B are compared"
    cost = "as backprop, and two forward passes and a weight gradient"
    use = "deep networks; aligns in the directions that occur"
    bibtex = KUNIN_2020

    def __init__(
        self,
        *,
        sparse: Coefficient = 0.5,
        amp: Coefficient = 1.0,
        rate: Coefficient = 0.01,
        inputs: Inputs = "activity",
        scale: float = 1.0,
        noise: float = 0.0,
    ) -> None:
        follow = RegularizedAlignment(sparse=sparse, amp=amp, rate=rate, inputs=inputs, noise=noise)
        super().__init__(scale=scale, noise=noise, alignment=follow)
