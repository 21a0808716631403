"""Batchwise random-magnitude sign-symmetric feedback: sizes are sampled anew each minibatch."""

from __future__ import annotations

from metaplastic.alignment.base import Alignment
from metaplastic.alignment.mirror import ResampledSizes
from metaplastic.rules.sign_symmetric import SignSymmetricRule


class BatchwiseRandomSign(SignSymmetricRule):
    """Moskovitz, Litwin-Kumar & Abbott (2018), as `SignSymmetricRule`."""

    alias = ("brsf",)
    formula = "abs(M) * sign(W), M sampled each minibatch"
    use = "to show that signs alone suffice"

    def alignment_of(self, scale: float, noise: float) -> Alignment:
        return ResampledSizes(scale=scale, noise=noise)
