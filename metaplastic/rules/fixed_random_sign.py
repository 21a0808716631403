"""Fixed random-magnitude sign-symmetric feedback."""

from __future__ import annotations

from metaplastic.signs import SignSymmetric


class FixedRandomSign(SignSymmetric):
    """Moskovitz, Litwin-Kumar & Abbott (2018); `SignSymmetric` says what they leave open."""

    alias = ("frsf",)
    formula = "abs(M) * sign(W), M drawn once"
    local = "the signs of the synapses above it"
    cost = "as backprop"
    use = "as uniform_sign, with sizes that know nothing of W"
    bibtex = """@article{moskovitz2018feedback,
  title = {Feedback alignment in deep convolutional networks},
  author = {Moskovitz, Theodore H. and Litwin-Kumar, Ashok and Abbott, L. F.},
  journal = {arXiv:1812.06488}, year = {2018},
}"""
