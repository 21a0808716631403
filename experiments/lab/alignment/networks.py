"""The two networks of the alignment runs."""

from __future__ import annotations

from torch import nn

from experiments.lab.credit_checks.networks import initialize, layered
from metaplastic.support.seeding import derive

GROUPS = 4


def network(name: str, seed: int) -> nn.Module:
    """`n 1 28 28` -> `n 10`, weights normal of Xavier's variance, as the feedback is."""
    model = layered((784, 128, 64, 10), "relu") if name == "mlp" else _conv()
    initialize(model, 1.0, derive("weights", seed))
    return model


def _conv() -> nn.Sequential:
    """Three 3x3 convolutions of stride 2, each with GroupNorm, and a linear readout."""
    layers: list[nn.Module] = []
    before = 1
    for channels in (8, 16, 32):
        layers += [nn.Conv2d(before, channels, 3, 2, 1), nn.GroupNorm(GROUPS, channels), nn.ReLU()]
        before = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10))
