"""Fixed random-magnitude sign-symmetric feedback."""

from __future__ import annotations

from metaplastic.pathways.signs import SignSymmetric
from metaplastic.rules.references import MOSKOVITZ_2018


class FixedRandomSign(SignSymmetric):
    """Moskovitz, Litwin-Kumar & Abbott (2018); `SignSymmetric` says what they leave open."""

    alias = ("frsf",)
    formula = "abs(M) * sign(W), M drawn once"
    local = "the signs of the synapses above it"
    cost = "as backprop"
    use = "as uniform_sign, with sizes that know nothing of W"
    bibtex = MOSKOVITZ_2018
