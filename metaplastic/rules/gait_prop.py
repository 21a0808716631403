"""GAIT-prop: targets near the activity, weighted so that their inverses give a gradient."""

from __future__ import annotations

from typing import Literal

from metaplastic.pathways.inverse import Inverse, InversePathway
from metaplastic.rules.credit_rule import CreditRule


class GaitProp(CreditRule):
    """Ahmad et al. (2020): with orthogonal weights errors are backpropagation's.

    For chains of square sites in float64 (`pathways.invertible`). In more than about eight layers
    a fixed `gamma` is lost in rounding, as `gamma ** depth`: see `rescaled_gait_prop`.

    Args:
        gamma: the step of a target from the activity.
        adjusted: whether it is multiplied by the squared slope; False is incremental target
            propagation.
        orthogonality: weight of a penalty on products of different rows, or with `diagonal` on all
            of `W W^T - I`.
    """

    route = "inverse"
    alias = ("gait",)
    formula = "h + gamma D^2 (t - h), through inverses"
    local = "as local as the inverse of a layer is"
    cost = "as backprop, and the inverse of every square site"
    use = "theory: backprop by targets, in shallow chains"
    bibtex = """@article{ahmad2020gait,
  title = {{GAIT}-prop: A biologically plausible learning rule derived from backpropagation of
           error},
  author = {Ahmad, Nasir and van Gerven, Marcel A. J. and Ambrogioni, Luca},
  journal = {Advances in Neural Information Processing Systems}, year = {2020},
}"""

    def __init__(
        self,
        *,
        gamma: float = 1e-3,
        adjusted: bool = True,
        orthogonality: float = 0.0,
        diagonal: bool = False,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> None:
        how = Inverse(
            gamma=gamma,
            adjusted=adjusted,
            orthogonality=orthogonality,
            diagonal=diagonal,
            reduction=reduction,
        )
        super().__init__(pathway=InversePathway(how))
