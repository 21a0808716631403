"""The base of the sign-symmetric rules: feedback with the signs of the forward weights."""

from __future__ import annotations

from typing import ClassVar

from metaplastic.alignment.base import Alignment
from metaplastic.pathways.signs import SignSymmetricFeedback, Sizes, Strict
from metaplastic.plasticity.manhattan import Manhattan
from metaplastic.rules.credit_rule import CreditRule
from metaplastic.rules.references import MOSKOVITZ_2018


class SignSymmetricRule(CreditRule):
    """Moskovitz, Litwin-Kumar & Abbott (2018); `SignSymmetricFeedback` says what they leave open.

    Args:
        strict: whether norms are kept; see `SignSymmetricFeedback`.
        manhattan: batch Manhattan (Liao et al. 2016): a site's weight gets the sign of its
            gradient.
    """

    sizes: ClassVar[Sizes] = "random"
    local = "the signs of the synapses above it"
    cost = "as backprop"
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
            pathway=SignSymmetricFeedback(sizes=self.sizes, strict=strict, scale=scale),
            plasticity=Manhattan(rate=0.01, per="shared", learn=False) if manhattan else None,
            alignment=self.alignment_of(scale, noise),
        )

    def alignment_of(self, scale: float, noise: float) -> Alignment | None:
        """The alignment; None for fixed sizes."""
        return None
