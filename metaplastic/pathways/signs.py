"""Sign-symmetric feedback: the signs of the forward weights, with other magnitudes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from metaplastic.pathways.carried_back import CarriedBack
from metaplastic.sites.shape import SiteShape
from metaplastic.support.choices import check_choice
from metaplastic.support.noise import normal, xavier_deviation

Strict = Literal["none", "feedback", "forward"]
Sizes = Literal["uniform", "random"]


class SignSymmetricFeedback(CarriedBack):
    """Feedback `sizes * sign(W)`: the feedback weights are the sizes, W is that of the pass.

    Moskovitz, Litwin-Kumar & Abbott (2018, arXiv:1812.06488), after Liao et al. (2016). "Strict
    normalization" as in two public implementations, which read it differently; the paper's text was
    not compared.

    Args:
        sizes: all equal (`uniform`, the Xavier deviation) or `random`, sampled once.
        strict: `feedback`: B is rescaled to the norm of the forward weight at every pass (as in
            Interp_FA); `forward`: the forward weight is rescaled to its first norm before every
            pass (as in biotorch); or `none`.
        scale: multiplies the sizes.
    """

    has_feedback = True

    def __init__(
        self, *, sizes: Sizes = "uniform", strict: Strict = "none", scale: float = 1.0
    ) -> None:
        super().__init__()
        check_choice("sizes", sizes, Sizes)
        check_choice("strict", strict, Strict)
        self.options = {"sizes": sizes, "strict": strict, "scale": scale}
        self.sizes, self.strict, self.scale = sizes, strict, scale
        self.keeps_norm = strict == "forward"

    def initialize(self, site: SiteShape, key: Tensor) -> Tensor:
        like, size = site.weight, self.scale * xavier_deviation(site.weight)
        if self.sizes == "uniform":
            return torch.full_like(like, size)
        return normal(key, tuple(like.shape), like.dtype).abs() * size

    def carrier(self, weight: Tensor, feedback: Tensor) -> Tensor:
        back = feedback * weight.detach().sign()
        if self.strict == "feedback":
            back = back * (weight.norm() / back.norm().clamp_min(torch.finfo(back.dtype).tiny))
        return back
