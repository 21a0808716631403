"""Targets through inverse weights are their equations, written out in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metaplastic.pathways.inverse import Inverse
from metaplastic.pathways.invertible import First, narrowing
from tests.helpers.chains import (
    VARIANTS,
    each_variant,
    examples,
    half_square,
    square,
    summed,
    taught,
)


def by_hand(chain: nn.Sequential, xs: Any, ys: Any, rule: Inverse, slope: float) -> dict[str, Any]:
    """The gradients of `half_square`, one example at a time; targets as in the papers' listings."""
    sites = [(n, layer) for n, layer in chain.named_children() if isinstance(layer, nn.Linear)]
    weights = [site.weight.detach().numpy() for _, site in sites]
    biases = [site.bias.detach().numpy() for _, site in sites]
    total = {n: np.zeros_like(p.detach().numpy()) for n, p in chain.named_parameters()}
    for x, y in zip(xs, ys, strict=True):
        h = [x]  # every unit of every layer; a site takes as many of the first as it has inputs
        for weight, bias in zip(weights, biases, strict=True):
            z = weight @ h[-1][: weight.shape[1]] + bias
            h.append(np.array([v if v > 0 else slope * v for v in z]))
        t, multiplier = np.concatenate([y, h[-1][len(y) :]]), 1.0
        for layer in range(len(sites), 0, -1):
            weight, bias, name = weights[layer - 1], biases[layer - 1], sites[layer - 1][0]
            below = h[layer - 1][: weight.shape[1]]
            slopes = np.array([1.0 if v > 0 else slope for v in h[layer]])
            error = multiplier * (h[layer] - t) * slopes
            total[f"{name}.weight"] += np.outer(error, below) / len(xs)
            total[f"{name}.bias"] += error / len(xs)
            if layer == 1:
                break
            part = 1.0 if rule.gamma is None else rule.gamma
            if rule.adaptive:
                part *= np.sqrt(len(t)) / np.sqrt(sum((t - h[layer]) ** 2))
            multiplier /= part
            a = part * slopes**2 if rule.gamma is not None and rule.adjusted else part
            mixed = (1 - a) * h[layer] + a * t
            drive = np.array([v if v > 0 else v / slope for v in mixed])
            solved = np.linalg.solve(weight, drive - bias)
            t = np.concatenate([solved, h[layer - 1][len(solved) :]])
    return total


def plain() -> nn.Sequential:
    layers = [nn.Linear(4, 5), nn.LeakyReLU(0.2), nn.Linear(5, 5), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Linear(5, 5), nn.LeakyReLU(0.2)).double()


def ends_with_auxiliary_outputs() -> nn.Sequential:
    layers = [nn.Linear(4, 6), nn.LeakyReLU(0.2), First(5), nn.Linear(5, 5), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, First(3)).double()


def tower() -> nn.Sequential:
    return narrowing([6, 6, 5, 3], slope=0.2)


@each_variant
@pytest.mark.parametrize("make", [plain, ends_with_auxiliary_outputs, tower])
def test_a_variant_is_its_equations(
    make: Callable[[], nn.Sequential], rule: Inverse, generator: torch.Generator
) -> None:
    chain = make()
    x, _ = examples(generator, units=chain[0].in_features, batch=3)
    with torch.no_grad():
        y = torch.randn(chain(x).shape, generator=generator, dtype=torch.float64)
    expected = by_hand(chain, x.numpy(), y.numpy(), rule, slope=0.2)
    found = taught(rule, chain, x, y, half_square)
    assert list(found) == list(expected)
    for name in expected:
        np.testing.assert_allclose(found[name].numpy(), expected[name], rtol=1e-10, atol=1e-12)


def test_variants_differ() -> None:
    generator = torch.Generator().manual_seed(1)
    chain, (x, y) = square(4, generator), examples(generator)
    found = [taught(rule, chain, x, y)["0.weight"] for rule in VARIANTS.values()]
    for i, one in enumerate(found):
        for other in found[:i]:
            assert (one - other).norm() > 0.01 * one.norm()


@each_variant
def test_what_an_example_teaches_does_not_depend_on_the_batch_it_is_in(
    rule: Inverse, generator: torch.Generator
) -> None:
    chain, (x, y) = square(3, generator, units=6), examples(generator, units=6, batch=4)
    alone = [taught(rule, chain, x[i : i + 1], y[i : i + 1]) for i in range(4)]
    together = taught(rule, chain, x, y)
    by_sum = Inverse(rule.gamma, rule.adaptive, rule.adjusted, reduction="sum")
    added = taught(by_sum, chain, x, y, summed)
    for name, found in together.items():
        total = torch.stack([one[name] for one in alone]).sum(0)
        torch.testing.assert_close(4 * found, total, rtol=1e-7, atol=1e-10)
        torch.testing.assert_close(added[name], total, rtol=1e-7, atol=1e-10)


@each_variant
def test_an_example_without_an_error_teaches_nothing(
    rule: Inverse, generator: torch.Generator
) -> None:
    chain, (x, _) = square(3, generator, units=6), examples(generator, units=6, batch=4)
    y = chain(x).detach()
    nothing = taught(rule, chain, x, y, half_square)
    assert max(float(found.abs().max()) for found in nothing.values()) < 1e-11
    y[:2] += 1
    both = taught(rule, chain, x, y, half_square)
    half = taught(rule, chain, x[:2], y[:2], half_square)
    for name, found in both.items():
        torch.testing.assert_close(2 * found, half[name], rtol=1e-7, atol=1e-10)


def penalty(weight: Tensor, *, diagonal: bool) -> Tensor:
    excess = weight @ weight.mT - torch.eye(len(weight), dtype=weight.dtype)
    return excess.square().sum() - (0 if diagonal else excess.diagonal().square().sum())


@pytest.mark.parametrize("diagonal", [False, True])
def test_the_orthogonality_term_is_the_gradient_of_its_penalty(
    diagonal: bool, generator: torch.Generator
) -> None:
    layers = [nn.Linear(3, 4), nn.Linear(4, 4), nn.LeakyReLU(0.1), nn.Linear(4, 4)]
    chain = nn.Sequential(*layers).double()
    x, y = examples(generator, units=3)
    without = taught(Inverse(), chain, x, y)
    found = taught(Inverse(orthogonality=0.7, diagonal=diagonal), chain, x, y)
    for site in (1, 3):
        weight = chain[site].weight.detach().clone().requires_grad_()
        (exact,) = torch.autograd.grad(0.7 * penalty(weight, diagonal=diagonal), weight)
        added = found[f"{site}.weight"] - without[f"{site}.weight"]
        torch.testing.assert_close(added, exact, rtol=1e-9, atol=1e-12)
        one = torch.zeros_like(weight)
        one[1, 2] = 1e-5
        ahead, behind = (penalty(weight.detach() + s * one, diagonal=diagonal) for s in (1, -1))
        assert float(added[1, 2]) == pytest.approx(0.7 * float(ahead - behind) / 2e-5, rel=1e-5)
    for name in ("0.weight", "0.bias", "1.bias", "3.bias"):  # not square, and no weights
        assert torch.equal(found[name], without[name])


def test_a_square_first_site_is_kept_orthogonal_as_well(generator: torch.Generator) -> None:
    chain, (x, y) = nn.Sequential(nn.Linear(3, 3)).double(), examples(generator, units=3)
    added = (
        taught(Inverse(orthogonality=1.0), chain, x, y)["0.weight"]
        - taught(Inverse(), chain, x, y)["0.weight"]
    )
    assert added.norm() > 0.01


def test_orthogonal_rows_of_any_length_cost_nothing_without_the_diagonal() -> None:
    chain = nn.Sequential(nn.Linear(4, 4, bias=False)).double()
    chain[0].weight.data = 3 * torch.eye(4, dtype=torch.float64)
    x, y = torch.zeros(2, 4, dtype=torch.float64), torch.tensor([0, 1])
    lengths_free = taught(Inverse(orthogonality=1.0, diagonal=False), chain, x, y)
    unit = taught(Inverse(orthogonality=1.0), chain, x, y)
    assert lengths_free["0.weight"].abs().max() == 0
    assert torch.equal(unit["0.weight"], 4 * (9 - 1) * chain[0].weight.data)
