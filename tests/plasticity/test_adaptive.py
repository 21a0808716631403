"""Adaptive plasticity against Adam and against its equation in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metaplastic.plasticity import Adaptive


def steps(count: int = 12) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return [(normal(1, 3, 4), normal(1, 3, 5)) for _ in range(count)]


def lifetime(rule: Adaptive, weight: Tensor, rate: float) -> Tensor:
    """The weight after all steps."""
    traces = {name: torch.zeros_like(weight) for name in rule.traces}
    for number, (x, signal) in enumerate(steps(), 1):
        at, size = torch.tensor(number), torch.tensor([[rate]], dtype=torch.float64)
        change, traces = rule.delta_with_traces(weight, x, signal, signal, size, traces, at)
        weight = weight + change
    return weight


@pytest.mark.parametrize("grad", [False, True])
def test_it_is_adam(grad: bool) -> None:
    weight = torch.randn(1, 5, 4, dtype=torch.float64)
    by_adam = nn.Parameter(weight.clone())
    optimizer = torch.optim.Adam([by_adam], lr=0.01, betas=(0.9, 0.99), eps=1e-3)
    for x, signal in steps():
        by_adam.grad = -(signal.mT @ x)
        optimizer.step()
    with torch.set_grad_enabled(grad):
        found = lifetime(Adaptive(small=1e-3), weight, 0.01)
    torch.testing.assert_close(found, by_adam.detach(), rtol=1e-12, atol=1e-14)


OPTIONS: list[dict[str, Any]] = [
    {}, {"decay": 5.0}, {"decay": 5.0, "power": 1.0}, {"nesterov": 0.3}, {"clip": 0.5},
    {"fan_in": 1.0}, {"weight_decay": 0.5, "decay": 3.0},
    {"nesterov": 0.1, "clip": 0.9, "fan_in": 0.7, "weight_decay": 0.1},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS)
def test_every_option_is_as_its_equation_says(options: dict[str, Any]) -> None:
    weight = torch.randn(1, 5, 4, dtype=torch.float64)
    full = {"decay": None, "power": 0.5, "nesterov": 0.0, "clip": None, "fan_in": 0.0,
            "weight_decay": 0.0} | options  # fmt: skip
    w = weight.numpy().copy()
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, (x, signal) in enumerate(steps(), 1):
        push = np.einsum("grp,grq->gpq", signal.numpy(), x.numpy())
        m, v = 0.8 * m + 0.2 * push, 0.95 * v + 0.05 * push**2
        ahead = (1 - full["nesterov"]) * m / (1 - 0.8**t) + full["nesterov"] * push
        ratio = ahead / (np.sqrt(v / (1 - 0.95**t)) + 0.01)
        if full["clip"] is not None:
            ratio = np.clip(ratio, -full["clip"], full["clip"])
        rate = 0.1 * (4 / 100) ** -full["fan_in"]
        if full["decay"] is not None:
            rate *= (1 + t / full["decay"]) ** -full["power"]
        w = w + rate * ratio - rate * full["weight_decay"] * w
    with torch.no_grad():
        found = lifetime(Adaptive(mean=0.8, square=0.95, small=0.01, **options), weight, 0.1)
    np.testing.assert_allclose(found.numpy(), w, rtol=1e-10)


@pytest.mark.parametrize(
    "options", [{"mean": 1.0}, {"decay": 0.0}, {"clip": -1.0}, {"nesterov": 1.5}, {"power": -1.0}]
)
def test_a_number_out_of_its_range_is_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Adaptive(**options)
