"""A rule of relative steps: what it does in a network does not depend on the scale of its input."""

from __future__ import annotations

import pytest
import torch

from experiments.lab.networks.transfer_networks import network
from experiments.lab.transfer.lifetimes import by_rule
from metaplastic import LearningRule, RandomDirect
from metaplastic.plasticity.polynomial import Polynomial


def traveling() -> LearningRule:
    first = {"signal_pre": 0.1, "signal_back": -0.05, "oja": 0.01}
    feedback = RandomDirect(weights="redrawn", level=True)
    return LearningRule(feedback, Polynomial(tuple(first), first=first, normalized=True))


@pytest.mark.parametrize("name", ["wide", "conv"])
def test_relative_steps_are_the_same_at_every_scale_of_input(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 1, 28, 28, generator=generator)
    changes = []
    for scale in (1.0, 7.0):
        model = network(name, (1, 28, 28), 2, 3).double()
        second = model[2 if name == "conv" else 3].weight
        was = second.detach().clone()
        net = by_rule(traveling())(model, (scale * x).double(), 0, 1.0)
        model[-1].weight.data.zero_()  # so that the error is the same
        net((scale * x).double())
        net.learn(torch.tensor([1]))
        changes.append(second.detach() - was)
    assert changes[0].abs().max() > 1e-4
    # Softplus has a scale of its own.
    apart = (changes[1] - changes[0]).norm() / changes[0].norm()
    assert apart < (0.2 if name == "wide" else 1e-6)
