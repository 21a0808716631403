"""GAIT-prop with adaptive rescaling: targets of all layers are steps of the same size."""

from __future__ import annotations

from typing import Literal

from metaplastic.pathways.inverse import Inverse, InversePathway
from metaplastic.rules.credit_rule import CreditRule


class RescaledGaitProp(CreditRule):
    """Dalm et al. (2021): a gamma for each example and layer, `gamma sqrt(units) / |t - h|`.

    For chains of square sites in float64 (`pathways.invertible`). With orthogonal weights errors
    are backpropagation's at any depth.

    Args:
        gamma: root mean square over units of the step.
        orthogonality: weight of a penalty on `W W^T - I`; without `diagonal`, on different rows
            alone.
    """

    route = "inverse"
    alias = ("rescaled_gait",)
    formula = "as gait_prop, gamma sqrt(n) / norm(t - h) for gamma"
    local = "as local as the inverse of a layer is"
    cost = "as backprop, and the inverse of every square site"
    use = "theory: backprop by targets, in deep chains"
    bibtex = """@article{dalm2021scaling,
  title = {Scaling up learning with {GAIT}-prop},
  author = {Dalm, Sander and Ahmad, Nasir and Ambrogioni, Luca and van Gerven, Marcel},
  journal = {arXiv:2102.11598}, year = {2021},
}"""

    def __init__(
        self,
        *,
        gamma: float = 1e-7,
        orthogonality: float = 0.0,
        diagonal: bool = True,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> None:
        how = Inverse(
            gamma=gamma,
            adaptive=True,
            orthogonality=orthogonality,
            diagonal=diagonal,
            reduction=reduction,
        )
        super().__init__(pathway=InversePathway(how))
