"""Uniform sign-symmetric feedback: the signs of the forward weights, all of one size."""

from __future__ import annotations

from metaplastic.rules.sign_symmetric import SignSymmetricRule


class UniformSign(SignSymmetricRule):
    """Moskovitz, Litwin-Kumar & Abbott (2018), as `SignSymmetricRule`."""

    alias = ("usf",)
    formula = "s sign(W)"
    use = "deep convolutional networks with norms: close to backprop"
    sizes = "uniform"
