"""The weight before a step is there for every rule that reads it."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from metaplastic import LearningRule, PlasticModule
from metaplastic.alignment.base import AtSite
from metaplastic.alignment.kolen_pollack import KolenPollackAlignment
from metaplastic.pathways.sequential import RandomFeedback
from metaplastic.plasticity.adaptive import Adaptive


class Changed(KolenPollackAlignment):
    """Reads both, and keeps their difference."""

    seen: ClassVar[list[tuple[Tensor, Tensor]]] = []

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        self.seen.append((site.weight - site.before, site.change))
        return site.change


def test_a_subclass_without_decay_is_given_it() -> None:
    rule = LearningRule(RandomFeedback(), Adaptive(rate=0.1), Changed(decay=0.0))
    assert not KolenPollackAlignment(decay=0.0).reads_before
    Changed.seen.clear()
    x = torch.ones(2, 3)
    net = PlasticModule(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), rule, example=x)
    net(x)
    net.learn(torch.tensor([0, 1]))
    assert Changed.seen
    for difference, change in Changed.seen:
        assert change.abs().max() > 0
        torch.testing.assert_close(difference, change)
