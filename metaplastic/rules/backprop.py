"""Backpropagation: errors go back through the forward weights themselves."""

from __future__ import annotations

from torch import Tensor

from metaplastic.sites.credit_rule import CreditRule


class Backpropagation(CreditRule):
    """The gradient itself."""

    alias = ("backpropagation", "bp")
    formula = "W^T d"
    local = "the weights of the synapses above it: no"
    cost = "1"
    use = "the reference that the others are measured by"
    has_feedback = False
    bibtex = """@article{rumelhart1986learning,
  title = {Learning representations by back-propagating errors},
  author = {Rumelhart, David E. and Hinton, Geoffrey E. and Williams, Ronald J.},
  journal = {Nature}, volume = {323}, pages = {533--536}, year = {1986},
}"""

    def through(self, weight: Tensor, feedback: Tensor) -> Tensor:
        return weight
