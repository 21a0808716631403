"""Information alignment: feedback reconstructs the input, as in a linear auto-encoder."""

from __future__ import annotations

from metaplastic.alignment.base import Coefficient
from metaplastic.alignment.primitives import Inputs, RegularizedAlignment
from metaplastic.rules.credit_rule import CreditRule
from metaplastic.rules.references import KUNIN_2020


class InformationAlignment(CreditRule):
    """Kunin et al. (2020).

    With W held, B converges to `amp (2 decay I + 2 null W C W^T)^-1 W C`.
    """

    alias = ("ia",)
    formula = "dB = rate (amp W C - 2 null W C W^T B - 2 decay B)"
    local = "yes"
    cost = "as backprop, a forward pass, a pass back and two weight gradients"
    use = "local, without the weight mirror's knife-edge"
    bibtex = KUNIN_2020

    def __init__(
        self,
        *,
        amp: Coefficient = 1.0,
        null: Coefficient = 0.5,
        decay: Coefficient = 0.05,
        rate: Coefficient = 0.01,
        inputs: Inputs = "activity",
        scale: float = 1.0,
        noise: float = 0.0,
    ) -> None:
        follow = RegularizedAlignment(
            amp=amp, null=null, decay=decay, rate=rate, inputs=inputs, noise=noise
        )
        super().__init__(scale=scale, noise=noise, alignment=follow)
