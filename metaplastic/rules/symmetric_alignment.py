"""Symmetric alignment: feedback is regularized towards the forward weights."""

from __future__ import annotations

from metaplastic.alignment.base import Coefficient
from metaplastic.alignment.primitives import RegularizedAlignment
from metaplastic.rules.credit_rule import CreditRule
from metaplastic.rules.references import KUNIN_2020


class SymmetricAlignment(CreditRule):
    """Kunin et al. (2020). With W held, B converges to `self / (2 decay) W`."""

    alias = ("sa",)
    formula = "dB = -rate (2 decay B - self W)"
    local = "no: B depends on W"
    cost = "as backprop, and one pass over the weights"
    use = "deep networks, noisy feedback: the robust choice where B may depend on W"
    bibtex = KUNIN_2020

    def __init__(
        self,
        *,
        decay: Coefficient = 0.5,
        self_: Coefficient = 1.0,
        rate: Coefficient = 0.1,
        scale: float = 1.0,
        noise: float = 0.0,
    ) -> None:
        follow = RegularizedAlignment(decay=decay, self_=self_, rate=rate, noise=noise)
        super().__init__(scale=scale, noise=noise, alignment=follow)
