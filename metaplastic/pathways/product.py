"""Feedback through the product of two matrices, the first fixed, the second aligned."""

from __future__ import annotations

import torch
from torch import Tensor

from metaplastic.pathways.carried_back import CarriedBack
from metaplastic.sites.shape import SiteShape
from metaplastic.support.noise import fold, normal, xavier_deviation


class ProductFeedback(CarriedBack):
    """Feedback through F R, with F `post mid` fixed and random, and R `mid pre`.

    After the code of product feedback alignment (2025). F is sampled with variance `1 / mid`, R so
    that F R has the scale of other feedback. Held in one tensor, `mid (post + pre)`: F transposed,
    R. Units are the first axis of the weight, as in Linear and convolutions.

    Args:
        expansion: mid units for each unit of the site.
        scale: multiplies the Xavier deviation of F R.
    """

    has_feedback = True

    def __init__(self, *, expansion: int = 10, scale: float = 1.0) -> None:
        super().__init__()
        self.options = {"expansion": expansion, "scale": scale}
        self.expansion, self.scale = expansion, scale

    def initialize(self, site: SiteShape, key: Tensor) -> Tensor:
        like = site.weight
        post = len(like)
        mid = self.expansion * post
        fixed = normal(fold(key, "fixed"), (mid, post), like.dtype) / mid**0.5
        size = self.scale * xavier_deviation(site.weight)
        learned = normal(fold(key, "learned"), (mid, like[0].numel()), like.dtype) * size
        return torch.cat([fixed, learned], 1)

    def carrier(self, weight: Tensor, feedback: Tensor) -> Tensor:
        fixed, learned = feedback[:, : len(weight)], feedback[:, len(weight) :]
        return (fixed.mT @ learned).view_as(weight)
