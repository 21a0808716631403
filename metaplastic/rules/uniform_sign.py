"""Uniform sign-symmetric feedback: the signs of the forward weights, all of one size."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from metaplastic.pathways.signs import SignSymmetric
from metaplastic.rules.references import MOSKOVITZ_2018
from metaplastic.sites.credit_rule import fans


class UniformSign(SignSymmetric):
    """Moskovitz, Litwin-Kumar & Abbott (2018); `SignSymmetric` says what they leave open."""

    alias = ("usf",)
    formula = "s sign(W)"
    local = "the signs of the synapses above it"
    cost = "as backprop"
    use = "deep convolutional networks with norms: close to backprop"
    bibtex = MOSKOVITZ_2018

    def first(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        fan_in, fan_out = fans(weight)
        return torch.full_like(weight, self.scale * math.sqrt(2 / (fan_in + fan_out)))
