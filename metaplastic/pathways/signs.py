"""Sign symmetry: feedback that has the signs of the forward weights, and what goes with it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from metaplastic.sites.credit_rule import CreditRule
from metaplastic.support.choices import check_choice

Strict = Literal["none", "feedback", "forward"]


class SignSymmetric(CreditRule):
    """Sizes are kept as the feedback; signs are read off the weight at every pass.

    Moskovitz, Litwin-Kumar & Abbott (2018, arXiv:1812.06488), after Liao et al. (2016). Their text
    was not at hand; what is known of it are the codes of others, and these read "strict
    normalization" in two ways. Both are here.

    Args:
        strict: `feedback`: B is rescaled to the norm of the forward weight at every pass (as in
            Interp_FA); `forward`: the forward weight is rescaled to its first norm before every
            pass (as in biotorch); or `none`.
        manhattan: batch Manhattan (Liao et al. 2016): a site's weight gets the sign of its
            gradient.
    """

    def __init__(
        self,
        *,
        strict: Strict = "none",
        manhattan: bool = False,
        scale: float = 1.0,
        noise: float = 0.0,
    ) -> None:
        super().__init__(scale=scale, noise=noise)
        check_choice("strict", strict, Strict)
        self.strict, self.manhattan, self.keeps_norm = strict, manhattan, strict == "forward"

    def first(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        return super().first(weight, generator).abs()

    def through(self, weight: Tensor, feedback: Tensor) -> Tensor:
        back = feedback * weight.detach().sign()
        if self.strict == "feedback":
            back = back * (weight.norm() / back.norm().clamp_min(torch.finfo(back.dtype).tiny))
        return back

    def finish(self, gradient: Tensor) -> Tensor:
        return gradient.sign() if self.manhattan else gradient
