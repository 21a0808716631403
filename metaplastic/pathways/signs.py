"""Sign symmetry: feedback that has the signs of the forward weights, and sizes of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from metaplastic.pathways.base import CarriedBack
from metaplastic.sites.shape import SiteShape
from metaplastic.support.choices import check_choice
from metaplastic.support.noise import normal

Strict = Literal["none", "feedback", "forward"]
Sizes = Literal["uniform", "random"]


class SignSymmetricFeedback(CarriedBack):
    """Sizes are kept as the feedback weights; signs are read off the forward weight at every pass.

    Moskovitz, Litwin-Kumar & Abbott (2018, arXiv:1812.06488), after Liao et al. (2016). Their text
    was not at hand; what is known of it are the codes of others, and these read "strict
    normalization" in two ways. Both are here.

    Args:
        sizes: all one (`uniform`, the Xavier deviation) or `random`, sampled once.
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

    @property
    def written_out(self) -> bool:
        return False

    def carriers(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        raise NotImplementedError

    def attach(self, sites: Sequence[object], outputs: int) -> None:
        """Nothing is kept for a site beside its feedback."""

    def initialize(self, site: SiteShape, key: Tensor) -> Tensor:
        like, size = site.weight, self.scale * math.sqrt(2 / sum(site.fans))
        if self.sizes == "uniform":
            return torch.full_like(like, size)
        return normal(key, tuple(like.shape), like.dtype).abs() * size

    def carrier(self, weight: Tensor, feedback: Tensor) -> Tensor:
        back = feedback * weight.detach().sign()
        if self.strict == "feedback":
            back = back * (weight.norm() / back.norm().clamp_min(torch.finfo(back.dtype).tiny))
        return back
