"""Direct feedback alignment: the output's error goes straight to the input of every site."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from metaplastic.sites.credit_rule import CreditRule


class DirectFeedbackAlignment(CreditRule):
    """Nokland (2016): D is uniform within `scale / sqrt(units)`, units those that receive.

    What is sent replaces the error at a site's input; norms, nonlinearities, pooling and skips
    below that point pass it on exactly, so in a chain `delta = (D^T e) * phi'(z)`.
    """

    alias = ("dfa",)
    route = "direct"
    formula = "D^T e, D random and fixed, e the output's error"
    local = "yes"
    cost = "as backprop; D has outputs x units numbers"
    use = "fully connected networks; errors need no way back through the layers"
    bibtex = """@inproceedings{nokland2016direct,
  title = {Direct Feedback Alignment Provides Learning in Deep Neural Networks},
  author = {N{\\o}kland, Arild},
  booktitle = {Advances in Neural Information Processing Systems}, year = {2016},
}"""

    def first(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        """`weight` is a tensor of the shape wanted: outputs x units."""
        drawn = torch.rand(weight.shape, generator=generator, dtype=torch.float64)
        bound = self.scale / math.sqrt(weight.shape[1])
        return ((2 * drawn - 1) * bound).to(weight)
