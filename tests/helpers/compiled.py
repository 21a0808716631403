"""The same plastic module twice, as it is and compiled, and whether both live alike."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from metaplastic import PlasticModule


def pair(
    model: nn.Module, rule: Any = "kolen_pollack", compile: Any = True, **options: Any
) -> list[PlasticModule]:
    """The same module as it is, and compiled."""
    options = {"rate": 0.05, **options} if isinstance(rule, str) else options
    return [
        PlasticModule(copy.deepcopy(model), copy.deepcopy(rule), compile=how, **options)
        for how in (False, compile)
    ]


def lives(nets: list[PlasticModule], *x: Any, y: Any, steps: int = 3, **named: Any) -> None:
    """Both learn the same example a few times, with the same predictions and losses."""
    for _ in range(steps):
        one, other = (net(*x, **named) for net in nets)
        torch.testing.assert_close(other, one, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(*(net.learn(y) for net in nets), rtol=1e-12, atol=1e-12)
    alike(nets)


def alike(nets: list[PlasticModule]) -> None:
    one, other = (net.state_dict() for net in nets)
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-11, atol=1e-13, msg=name)


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def x_of(batch: int, seed: int = 1, inputs: int = 6) -> Tensor:
    return torch.randn(batch, inputs, generator=torch.manual_seed(seed)).double()
