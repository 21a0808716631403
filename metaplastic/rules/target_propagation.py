"""Target propagation: every layer's target is the exact inverse of the next one's."""

from __future__ import annotations

from typing import Literal

from metaplastic.pathways.inverse import Inverse, InversePathway
from metaplastic.rules.credit_rule import CreditRule


class TargetPropagation(CreditRule):
    """Lee et al. (2015), with exact inverses as in the GAIT-prop code.

    For chains of square sites in float64 (`metaplastic.pathways.invertible`).
    """

    route = "inverse"
    alias = ("tp",)
    formula = "target below = inverse(target above)"
    local = "as local as the inverse of a layer is"
    cost = "as backprop, and the inverse of every square site"
    use = "the baseline of gait_prop"
    bibtex = """@inproceedings{lee2015difference,
  title = {Difference Target Propagation},
  author = {Lee, Dong-Hyun and Zhang, Saizheng and Fischer, Asja and Bengio, Yoshua},
  booktitle = {Machine Learning and Knowledge Discovery in Databases}, year = {2015},
}"""

    def __init__(
        self,
        *,
        orthogonality: float = 0.0,
        diagonal: bool = False,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> None:
        how = Inverse(
            gamma=None,
            orthogonality=orthogonality,
            diagonal=diagonal,
            reduction=reduction,
        )
        super().__init__(pathway=InversePathway(how))
