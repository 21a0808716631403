"""Test-time augmentation by shifts: features averaged over shifted copies of an image.

The features of a strided encoder depend on the exact position of the image. Their mean over shifts
by a few pixels depends on it less.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaplastic.evaluate.frozen_part import frozen_part, with_encoder
from metaplastic.inner.learner import OnlineLearner
from metaplastic.support.renamed import former_names, renamed_arguments


class ShiftAveraged(nn.Module):
    """In eval mode the mean of `encoder` over an image shifted by up to `max_shift` pixels.

    Inputs are `n channels height width`. Vertical and horizontal shifts give
    `(1 + 2 max_shift) ** 2` passes; borders are replicated. In train mode the encoder alone, since
    training images are shifted at random already.
    """

    @renamed_arguments(seen="encoder", reach="max_shift")
    def __init__(self, encoder: nn.Sequential, max_shift: int = 1) -> None:
        super().__init__()
        if max_shift < 1:
            raise ValueError(f"max_shift is {max_shift}; it must be at least 1 pixel.")
        self.encoder, self.max_shift = encoder, max_shift
        self.options: dict[str, Any] = {"encoder": encoder, "max_shift": max_shift}

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            features: Tensor = self.encoder(x)
            return features
        height, width = x.shape[-2:]
        padded = F.pad(x, [self.max_shift] * 4, mode="replicate")
        shifts = product(range(1 + 2 * self.max_shift), repeat=2)
        shifted = (padded[..., top : top + height, left : left + width] for top, left in shifts)
        return torch.stack([self.encoder(view) for view in shifted]).mean(0)


@renamed_arguments(reach="max_shift")
def with_shift_averaging(learner: OnlineLearner, max_shift: int = 1) -> OnlineLearner:
    """A copy of the learner whose encoder is shift-averaged at test.

    The layers before the first plastic site become the encoder of a `ShiftAveraged`. A `UnitLength`
    at their end is applied after averaging, so that the mean of the features has length 1.

    Raises:
        ValueError: if nothing is frozen before the first plastic site.
    """
    frozen, rest = frozen_part(learner)
    averaged = with_encoder(learner, ShiftAveraged(frozen, max_shift), rest)
    averaged.rule.load_state_dict(learner.rule.state_dict())
    return averaged


__getattr__ = former_names(globals(), Glances="ShiftAveraged", glancing="with_shift_averaging")
