"""Batchwise random-magnitude sign-symmetric feedback: sizes are drawn anew each minibatch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from metaplastic.pathways.signs import SignSymmetric
from metaplastic.rules.references import MOSKOVITZ_2018
from metaplastic.sites.credit_rule import AtSite, fans


class BatchwiseRandomSign(SignSymmetric):
    """Moskovitz, Litwin-Kumar & Abbott (2018); `SignSymmetric` says what they leave open."""

    alias = ("brsf",)
    formula = "abs(M) * sign(W), M drawn each minibatch"
    local = "the signs of the synapses above it"
    cost = "as backprop"
    use = "to show that signs alone suffice"
    bibtex = MOSKOVITZ_2018

    follows = True

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        fan_in, fan_out = fans(site.weight)
        drawn = torch.randn_like(feedback) * self.scale * math.sqrt(2 / (fan_in + fan_out))
        return drawn.abs() - feedback
