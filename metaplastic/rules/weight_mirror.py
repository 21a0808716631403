"""The weight mirror: feedback learns by Hebb's rule from noise and the outputs for it."""

from __future__ import annotations

from metaplastic.alignment.mirror import MirrorAlignment
from metaplastic.rules.credit_rule import CreditRule
from metaplastic.rules.references import AKROUT_2019


class WeightMirror(CreditRule):
    """Akrout et al. (2019), with the mean over examples and positions in place of their sum.

    With W held, B converges to `rate deviation^2 / decay W`. Noise is sampled at each site
    independently, in the shape of its input.

    Args:
        examples: of noise, each minibatch; None for as many as the minibatch has.
    """

    alias = ("wm",)
    formula = "dB = rate y x^T - decay B, x white noise, y = W x"
    local = "yes"
    cost = "as backprop, a forward pass and a weight gradient"
    use = "where layers may be driven by noise between examples"
    bibtex = AKROUT_2019

    def __init__(
        self,
        *,
        rate: float = 0.01,
        decay: float = 0.01,
        deviation: float = 1.0,
        examples: int | None = None,
        scale: float = 1.0,
        noise: float = 0.0,
    ) -> None:
        follow = MirrorAlignment(
            rate=rate, decay=decay, deviation=deviation, examples=examples, noise=noise
        )
        super().__init__(scale=scale, noise=noise, alignment=follow)
