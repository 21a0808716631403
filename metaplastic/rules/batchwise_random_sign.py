"""Batchwise random-magnitude sign-symmetric feedback: sizes are sampled anew each minibatch."""

from __future__ import annotations

from metaplastic.alignment.mirror import ResampledSizes
from metaplastic.pathways.signs import SignSymmetricFeedback, Strict
from metaplastic.plasticity.manhattan import Manhattan
from metaplastic.rules.credit_rule import CreditRule
from metaplastic.rules.references import MOSKOVITZ_2018


class BatchwiseRandomSign(CreditRule):
    """Moskovitz, Litwin-Kumar & Abbott (2018); `SignSymmetricFeedback` says what they leave open.

    Args:
        strict: whether norms are kept; see `SignSymmetricFeedback`.
        manhattan: batch Manhattan (Liao et al. 2016): a site's weight gets the sign of its
            gradient.
    """

    alias = ("brsf",)
    formula = "abs(M) * sign(W), M sampled each minibatch"
    local = "the signs of the synapses above it"
    cost = "as backprop"
    use = "to show that signs alone suffice"
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
            alignment=ResampledSizes(scale=scale, noise=noise),
        )
