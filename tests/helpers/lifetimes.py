"""Tiny lifetimes and learners in float64, and the meta-gradient of one as plain tensors."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from metaplastic import (
    Backprop,
    CrossEntropy,
    Delta,
    Direct,
    Episode,
    Hebb,
    LearningRule,
    MeanSquaredError,
    Oja,
    OnlineLearner,
)

Rule = Callable[[], LearningRule]
RULES: dict[str, Rule] = {
    "Oja": lambda: LearningRule(Direct(teaching="error"), Oja(rate=0.05)),
    "Hebb": lambda: LearningRule(Direct(), Hebb(rate=0.05)),
    "SGD, second order": lambda: LearningRule(Backprop(), Delta(rate=0.1)),
    "SGD, first order": lambda: LearningRule(Backprop(second_order=False), Delta(rate=0.1)),
}


def episodes(
    *,
    outputs: int = 2,
    shape: tuple[int, ...] = (3,),
    tasks: int = 2,
    steps: int = 10,
    batch: int = 2,
    queries: int = 3,
    regression: bool = False,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Episode:
    """Inputs from a normal distribution, targets at random."""
    draw = torch.Generator().manual_seed(seed)

    def targets(*size: int) -> Tensor:
        if regression:
            return torch.randn(*size, outputs, generator=draw, dtype=dtype)
        return torch.randint(outputs, size, generator=draw)

    def inputs(*size: int) -> Tensor:
        return torch.randn(*size, *shape, generator=draw, dtype=torch.float64).to(dtype)

    support, query = (tasks, steps, batch), (tasks, queries)
    return Episode(
        inputs(*support), targets(*support), torch.zeros(support, dtype=torch.int64),
        inputs(*query), targets(*query), torch.zeros(query, dtype=torch.int64),
        torch.arange(tasks) + seed,
    )  # fmt: skip


def dense(*sizes: int, phi: type[nn.Module] = nn.Tanh, bias: bool = True) -> nn.Sequential:
    """Linear layers of these sizes with `phi` between them."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out, bias=bias), phi()]
    return nn.Sequential(*layers[:-1])


def convolutional(outputs: int = 2, phi: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    """5x5 images of one channel: stride and padding, a norm, a pool, a readout."""
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, stride=1, padding=1), nn.GroupNorm(2, 2), phi(), nn.MaxPool2d(2),
        nn.Conv2d(2, 2, 2, stride=2, padding=1), phi(), nn.Flatten(), nn.Linear(8, outputs),
    )  # fmt: skip


def learner(
    network: nn.Sequential,
    rule: LearningRule,
    *,
    regression: bool = False,
    dtype: torch.dtype = torch.float64,
    jitter: bool = True,
    **options: Any,
) -> OnlineLearner:
    """A learner whose every parameter is shaken off the special value it starts from."""
    sites = [layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    outputs = sites[-1].weight.shape[0]
    objective = MeanSquaredError(outputs) if regression else CrossEntropy(outputs)
    made = OnlineLearner(network, rule, objective, **options).to(dtype)
    if jitter:
        draw = torch.Generator().manual_seed(7)
        for name, parameter in made.named_parameters():
            size = 0.1
            if "plasticity" in name and rule.plasticity.scale == "raw":
                size = 0.3 * rule.plasticity.initial
            noise = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
            parameter.data += size * noise.to(dtype)
    return made


def learned(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that an outer loop may tune, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def meta_gradient(made: OnlineLearner, episode: Episode) -> dict[str, Tensor]:
    """What `.backward()` of the meta-loss leaves in every learned parameter, or zeros."""
    leaves = learned(made)
    found = torch.autograd.grad(
        made(episode).loss, list(leaves.values()), allow_unused=True, materialize_grads=True
    )
    return dict(zip(leaves, found, strict=True))


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """How far one is from the other, both read as one vector, relative to the other's length."""
    assert one.keys() == other.keys()
    difference, length = (
        torch.cat([tensor.flatten().double() for tensor in tensors]).norm()
        for tensors in ([one[name] - other[name] for name in one], other.values())
    )
    return float(difference / length)


def the_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether not a bit differs."""
    return all(torch.equal(one[name], other[name]) for name in one)
