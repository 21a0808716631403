"""Kolen-Pollack: feedback gets the change of the forward weights, and both decay."""

from __future__ import annotations

from metaplastic.alignment.kolen_pollack import KolenPollackAlignment
from metaplastic.rules.credit_rule import CreditRule
from metaplastic.rules.references import AKROUT_2019


class KolenPollack(CreditRule):
    """Kolen & Pollack (1994), as brought to deep networks by Akrout et al. (2019).

    If both get the same change and both decay by `decay` a step, then the change of the feedback is
    that of the weight plus `decay (W - B)`, and `W - B` shrinks by `1 - decay` a step, with any
    optimizer. The weight's change is measured, so its decay is the optimizer's:
    `weight_decay = decay / lr` for plain SGD.
    """

    alias = ("kp",)
    formula = "dB = dW + decay (W - B)"
    local = "yes, by a reciprocal circuit"
    cost = "as backprop, and a copy of the weights"
    use = "deep networks; needs exact copies of every change"
    bibtex = AKROUT_2019

    def __init__(self, *, decay: float = 1e-3, scale: float = 1.0, noise: float = 0.0) -> None:
        follow = KolenPollackAlignment(decay=decay, noise=noise)
        super().__init__(scale=scale, noise=noise, alignment=follow)
