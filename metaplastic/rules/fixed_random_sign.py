"""Fixed random-magnitude sign-symmetric feedback."""

from __future__ import annotations

from metaplastic.pathways.signs import SignSymmetricFeedback, Strict
from metaplastic.plasticity.manhattan import Manhattan
from metaplastic.rules.credit_rule import CreditRule
from metaplastic.rules.references import MOSKOVITZ_2018


class FixedRandomSign(CreditRule):
    """Moskovitz, Litwin-Kumar & Abbott (2018); `SignSymmetricFeedback` says what they leave open.

    Args:
        strict: whether norms are kept; see `SignSymmetricFeedback`.
        manhattan: batch Manhattan (Liao et al. 2016): a site's weight gets the sign of its
            gradient.
    """

    alias = ("frsf",)
    formula = "abs(M) * sign(W), M sampled once"
    local = "the signs of the synapses above it"
    cost = "as backprop"
    use = "as uniform_sign, with sizes independent of W"
    bibtex = MOSKOVITZ_2018

    def __init__(
        self,
        *,
        strict: Strict = "none",
        manhattan: bool = False,
        scale: float = 1.0,
        noise: float = 0.0,
    ) -> None:
        super().__init__(
            scale=scale,
            noise=noise,
            pathway=SignSymmetricFeedback(sizes="random", strict=strict, scale=scale),
            plasticity=Manhattan(rate=0.01, per="shared", learn=False) if manhattan else None,
        )
