"""Test-time augmentation by shifts: features averaged over shifted copies of an image.

The features of a strided encoder depend on the exact position of the image. Their mean over shifts
by a few pixels depends on it less.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaplastic.inner.learner import OnlineLearner
from metaplastic.stacked.readouts import UnitLength
from metaplastic.support.describe import build, describe, own_classes
from metaplastic.support.renamed import former_names, renamed_arguments
from metaplastic.support.seeding import global_seed


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
    stack, first = learner.stack, learner.sites[0]
    end = stack.sites[first.name].layer
    if end and isinstance(stack.layers[end - 1], UnitLength):
        end -= 1
    before = [] if learner.encoder is None else [("encoder", learner.encoder)]
    named = [
        (name.replace(".", "_"), layer)
        for name, layer in zip(stack.names, stack.layers, strict=True)
    ]
    frozen = copy.deepcopy(before + named[:end])
    if not frozen:
        raise ValueError(
            "Every layer of this network is plastic, so there are no features to average; make "
            "fewer layers plastic, or give the learner an encoder."
        )
    with global_seed(torch.device("cpu"), "overwritten"):  # the caller's generator is unaffected
        rule = build(describe(learner.rule), own_classes(learner))
        averaged = OnlineLearner(
            **{
                **learner.options,
                "network": nn.Sequential(OrderedDict(copy.deepcopy(named[end:]))),
                "rule": rule,
                "encoder": ShiftAveraged(nn.Sequential(OrderedDict(frozen)), max_shift),
                "plastic": [site.name.replace(".", "_") for site in learner.sites],
            },
            unroll=learner.unroll,
        )
    rule.load_state_dict(learner.rule.state_dict())
    rule.rate_scale = learner.rule.rate_scale
    return averaged.train(learner.training)


__getattr__ = former_names(globals(), Glances="ShiftAveraged", glancing="with_shift_averaging")
