"""Backpropagation: errors go back through the forward weights."""

from __future__ import annotations

from metaplastic.pathways.carried_back import Backprop
from metaplastic.rules.credit_rule import CreditRule


class Backpropagation(CreditRule):
    """The gradient."""

    alias = ("backpropagation", "bp")
    formula = "W^T d"
    local = "the weights of the synapses above it: no"
    cost = "1"
    use = "the reference for the others"
    bibtex = """@article{rumelhart1986learning,
  title = {Learning representations by back-propagating errors},
  author = {Rumelhart, David E. and Hinton, Geoffrey E. and Williams, Ronald J.},
  journal = {Nature}, volume = {323}, pages = {533--536}, year = {1986},
}"""

    def __init__(self, *, scale: float = 1.0, noise: float = 0.0) -> None:
        super().__init__(scale=scale, noise=noise, pathway=Backprop())
