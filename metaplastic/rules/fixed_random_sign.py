"""Fixed random-magnitude sign-symmetric feedback."""

from __future__ import annotations

from metaplastic.rules.sign_symmetric import SignSymmetricRule


class FixedRandomSign(SignSymmetricRule):
    """Moskovitz, Litwin-Kumar & Abbott (2018), as `SignSymmetricRule`."""

    alias = ("frsf",)
    formula = "abs(M) * sign(W), M sampled once"
    use = "as uniform_sign, with sizes independent of W"
