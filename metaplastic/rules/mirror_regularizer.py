"""The weight mirror as a regularizer, a sum of two primitives."""

from __future__ import annotations

from metaplastic.alignment.base import Coefficient
from metaplastic.alignment.primitives import Inputs, RegularizedAlignment
from metaplastic.rules.credit_rule import CreditRule
from metaplastic.rules.references import KUNIN_2020


class MirrorRegularizer(CreditRule):
    """Kunin et al. (2020).

    With W held, B converges to `amp / (2 decay) W C`: for white x, a mirror.
    """

    alias = ("wm_kunin",)
    formula = "dB = rate (amp W C - 2 decay B)"
    local = "yes"
    cost = "as backprop, a forward pass and a weight gradient"
    use = "white noise inputs; on activities it is a knife-edge"
    bibtex = KUNIN_2020

    def __init__(
        self,
        *,
        decay: Coefficient = 0.5,
        amp: Coefficient = 1.0,
        rate: Coefficient = 0.01,
        inputs: Inputs = "noise",
        scale: float = 1.0,
        noise: float = 0.0,
    ) -> None:
        follow = RegularizedAlignment(decay=decay, amp=amp, rate=rate, inputs=inputs, noise=noise)
        super().__init__(scale=scale, noise=noise, alignment=follow)
