"""A convolution under a learning rule: what its many positions come to."""

from __future__ import annotations

import torch
from torch import nn

from metaplastic import Backprop, Delta, LearningRule
from tests.helpers.lifetimes import episodes, learner


class Averaging(Delta):
    """A user's own rule, of another scale than gradients have."""

    averages_positions = True


def test_a_rule_that_averages_positions_averages_them_for_biases_as_well() -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2), nn.Flatten(), nn.Linear(12, 2))
    lived = episodes(shape=(2, 5, 5), tasks=1, steps=1)
    changes = []
    for rule in (Delta, Averaging):
        made = learner(network, LearningRule(Backprop(), rule(rate=0.1)), jitter=False)
        born = made.initialize(lived.support_y, lived.seed)
        fast = made.adapt(lived.support_x, lived.support_y, born)
        changes.append({name: fast[name] - born[name] for name in born})
    summed, averaged = changes
    for name, positions in {"0.weight": 4, "0.bias": 4, "2.weight": 1, "2.bias": 1}.items():
        assert summed[name].abs().max() > 1e-4
        assert torch.allclose(averaged[name], summed[name] / positions, rtol=1e-9)
