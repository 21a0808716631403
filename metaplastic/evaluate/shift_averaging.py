"""Several glances at a picture: a code that does not hang on where exactly the pixels fell.

An encoder that strides sees a picture moved by one pixel as another one. At test the code may
therefore be the mean over a few such moves, as eyes are never quite still.
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
from metaplastic.support.seeding import global_seed


class Glances(nn.Module):
    """In eval mode the mean of `seen` over a picture moved by up to `reach` pixels each way.

    `n channels height width`; up or down and left or right: `(1 + 2 reach) ** 2` glances, at as
    many times the cost. What moves in is what stood at the edge. In train mode one glance: chance
    moves pictures.
    """

    def __init__(self, seen: nn.Sequential, reach: int = 1) -> None:
        super().__init__()
        if reach < 1:
            raise ValueError(f"reach is {reach}; a glance goes at least 1 pixel aside.")
        self.seen, self.reach = seen, reach
        self.options: dict[str, Any] = {"seen": seen, "reach": reach}

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            code: Tensor = self.seen(x)
            return code
        height, width = x.shape[-2:]
        wide = F.pad(x, [self.reach] * 4, mode="replicate")
        moves = product(range(1 + 2 * self.reach), repeat=2)
        views = (wide[..., top : top + height, left : left + width] for top, left in moves)
        return torch.stack([self.seen(view) for view in views]).mean(0)


def glancing(learner: OnlineLearner, reach: int = 1) -> OnlineLearner:
    """The same learner with several glances at test; `learner` is untouched.

    What is frozen within a lifetime becomes an encoder under `Glances`. A `UnitLength` at its end
    stays behind: it is the mean of codes that has length 1.

    Raises:
        ValueError: if nothing is frozen before the first plastic site.
    """
    stack, end = learner.stack, learner.start
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
            "Everything in this network is plastic, so there is no code to take the mean of; make "
            "fewer layers plastic, or hand in an encoder."
        )
    with global_seed(torch.device("cpu"), "overwritten"):  # spares the caller's generator
        rule = build(describe(learner.rule), own_classes(learner))
        made = OnlineLearner(
            **{
                **learner.options,
                "network": nn.Sequential(OrderedDict(copy.deepcopy(named[end:]))),
                "rule": rule,
                "encoder": Glances(nn.Sequential(OrderedDict(frozen)), reach),
                "plastic": [site.name.replace(".", "_") for site in learner.sites],
            },
            unroll=learner.unroll,
        )
    rule.load_state_dict(learner.rule.state_dict())
    rule.pace = learner.rule.pace
    return made.train(learner.training)
