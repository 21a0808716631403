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
    episode = episodes(shape=(2, 5, 5), tasks=1, steps=1)
    changes = []
    for rule in (Delta, Averaging):
        made = learner(network, LearningRule(Backprop(), rule(rate=0.1)), jitter=False)
        initial = made.initialize(episode.support_y, episode.seed)
        fast = made.adapt(episode.support_x, episode.support_y, initial)
        changes.append({name: fast[name] - initial[name] for name in initial})
    summed, averaged = changes
    for name, positions in {"0.weight": 4, "0.bias": 4, "2.weight": 1, "2.bias": 1}.items():
        assert summed[name].abs().max() > 1e-4
        assert torch.allclose(averaged[name], summed[name] / positions, rtol=1e-9)
