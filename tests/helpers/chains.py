"""Small chains that targets can be taken through, and what autograd says of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaplastic.evaluate.geometry import angles
from metaplastic.pathways.inverse import Inverse, LossFunction
from metaplastic.pathways.invertible import orthogonal_

RESCALED = Inverse(gamma=1e-7, adaptive=True)
VARIANTS = {
    "TP": Inverse(gamma=None),
    "ITP": Inverse(gamma=0.1, adjusted=False),
    "GAIT": Inverse(gamma=0.1),
    "rescaled GAIT": Inverse(gamma=0.1, adaptive=True),
}
each_variant = pytest.mark.parametrize("rule", VARIANTS.values(), ids=VARIANTS.keys())
summed = partial(F.cross_entropy, reduction="sum")


def half_square(output: Tensor, y: Tensor) -> Tensor:
    """Its gradient for one example is the output minus y: the output target is y itself."""
    return (output - y).square().sum() / (2 * len(y))


def square(
    depth: int, generator: torch.Generator, *, units: int = 64, noise: float = 0.0
) -> nn.Sequential:
    """Orthogonal weights plus noise of that share of their length, leaky but for the outputs."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(units, units), nn.LeakyReLU(0.1)]
    chain = orthogonal_(nn.Sequential(*layers[:-1]).double(), generator)
    for parameter in chain.parameters():
        drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        size = noise / units**0.5 if parameter.dim() == 2 else 0.1
        parameter.data += size * drawn
    return chain


def examples(
    generator: torch.Generator, *, units: int = 64, batch: int = 32
) -> tuple[Tensor, Tensor]:
    x = torch.randn(batch, units, generator=generator, dtype=torch.float64)
    return x, torch.randint(3, (batch,), generator=generator)


def backprop(
    chain: nn.Sequential, x: Tensor, y: Any, loss_fn: LossFunction
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Autograd's gradients by parameter, and at the output of each Linear."""
    chain.zero_grad()
    value, outputs = x, {}
    for name, layer in chain.named_children():
        value = layer(value)
        if isinstance(layer, nn.Linear):
            value.retain_grad()
            outputs[name] = value
    loss_fn(value, y).backward()
    return gradients(chain), {name: output.grad for name, output in outputs.items()}


def gradients(chain: nn.Sequential) -> dict[str, Tensor]:
    found = {n: p.grad.clone() for n, p in chain.named_parameters() if p.grad is not None}
    chain.zero_grad()
    return found


def taught(
    rule: Inverse, chain: nn.Sequential, x: Tensor, y: Any, loss_fn: LossFunction = F.cross_entropy
) -> dict[str, Tensor]:
    chain.zero_grad()
    rule.backward(chain, x, y, loss_fn)
    return gradients(chain)


def degrees(rule: Inverse, chain: nn.Sequential, x: Tensor, y: Tensor) -> list[float]:
    """Per site, the larger angle to backprop: of the weight's gradient, or of the errors."""
    true, true_errors = backprop(chain, x, y, F.cross_entropy)
    found = taught(rule, chain, x, y)
    errors = rule.errors(chain, x, y, F.cross_entropy)
    assert list(errors) == list(true_errors)
    return [
        max(float(angles(one.flatten()[None], other.flatten()[None])) for one, other in pairs)
        for pairs in (
            ((found[f"{s}.weight"], true[f"{s}.weight"]), (errors[s], true_errors[s]))
            for s in errors
        )
    ]
