"""Targets through inverse weights: when they give the gradient, and when they do not."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metaplastic.pathways.inverse import Inverse, LossFunction
from metaplastic.pathways.invertible import narrowing, orthogonal_
from tests.helpers.chains import (
    RESCALED,
    VARIANTS,
    backprop,
    degrees,
    each_variant,
    examples,
    gradients,
    square,
    summed,
    taught,
)


@pytest.mark.parametrize("seed", range(3))
def test_with_orthogonal_weights_gait_is_backprop_in_four_layers(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    chain, data = square(4, generator), examples(generator)
    assert max(degrees(Inverse(gamma=1e-3), chain, *data)) < 0.01


@pytest.mark.parametrize("seed", range(3))
def test_with_orthogonal_weights_rescaled_gait_is_backprop_in_twelve_layers(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    chain, data = square(12, generator), examples(generator)
    found = degrees(RESCALED, chain, *data)
    assert len(found) == 12
    assert max(found) < 0.01


@pytest.mark.parametrize("depth", [8, 12])
def test_a_fixed_gamma_is_lost_in_deep_chains(depth: int, generator: torch.Generator) -> None:
    chain, data = square(depth, generator), examples(generator)
    found = degrees(Inverse(gamma=1e-3), chain, *data)
    assert found[0] > 60
    assert max(found[-3:]) < 0.01  # near the outputs it is still the gradient


@pytest.mark.parametrize("rule", [VARIANTS["TP"], Inverse(gamma=1e-3, adjusted=False)])
def test_without_the_derivatives_square_targets_are_no_gradient(
    rule: Inverse, generator: torch.Generator
) -> None:
    chain, data = square(4, generator), examples(generator)
    assert degrees(rule, chain, *data)[0] > 60


def test_a_large_gamma_fails_where_it_crosses_the_kink(generator: torch.Generator) -> None:
    chain, data = square(12, generator), examples(generator)
    large, small = (degrees(Inverse(gamma=g, adaptive=True), chain, *data) for g in (1e-3, 1e-7))
    assert large[0] > 10
    assert small[0] < 0.01


def test_angles_grow_with_the_distance_from_orthogonal_weights() -> None:
    first = []
    for noise in (0.0, 0.05, 0.1, 0.3):
        generator = torch.Generator().manual_seed(0)
        chain, data = square(8, generator, noise=noise), examples(generator)
        found = degrees(RESCALED, chain, *data)
        assert found[-1] < 1e-6  # the outputs hear the error itself
        assert noise == 0 or all(near < 1.1 * far for far, near in pairwise(found))
        first.append(found[0])
    assert all(less < more for less, more in pairwise(first))
    assert 5 < first[1] < 20
    assert first[3] > 40


@pytest.mark.parametrize("loss_fn", [F.cross_entropy, summed])
@pytest.mark.parametrize("depth", [4, 12])
def test_rescaled_gait_has_the_size_of_the_gradient_too(
    loss_fn: LossFunction, depth: int, generator: torch.Generator
) -> None:
    chain, (x, y) = square(depth, generator), examples(generator)
    rule = Inverse(1e-7, adaptive=True, reduction="sum" if loss_fn is summed else "mean")
    true, true_errors = backprop(chain, x, y, loss_fn)
    for name, found in taught(rule, chain, x, y, loss_fn).items():
        assert (found - true[name]).norm() < 1e-6 * true[name].norm()
    for name, found in rule.errors(chain, x, y, loss_fn).items():
        assert (found - true_errors[name]).norm() < 1e-6 * true_errors[name].norm()


def test_a_sum_under_the_default_reduction_still_has_the_size_of_its_gradient(
    generator: torch.Generator,
) -> None:
    chain, (x, y) = square(4, generator), examples(generator)
    true, _ = backprop(chain, x, y, summed)
    for name, found in taught(RESCALED, chain, x, y, summed).items():
        assert (found - true[name]).norm() < 1e-6 * true[name].norm()


@each_variant
def test_without_nonlinearities_every_variant_is_backprop_if_weights_are_orthogonal(
    rule: Inverse, generator: torch.Generator
) -> None:
    layers = [nn.Linear(9, 6), nn.Identity(), nn.Linear(6, 6, bias=False), nn.Linear(6, 6)]
    chain = orthogonal_(nn.Sequential(*layers).double(), generator)
    x, y = examples(generator, units=9)
    true, _ = backprop(chain, x, y, F.cross_entropy)
    for name, found in taught(rule, chain, x, y).items():
        torch.testing.assert_close(found, true[name], rtol=1e-9, atol=1e-13)


def test_weights_that_are_not_orthogonal_add_the_inverse_of_their_square_to_the_error(
    generator: torch.Generator,
) -> None:
    chain = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5)).double()
    x, y = examples(generator, units=5)
    true = backprop(chain, x, y, F.cross_entropy)[1]["0"]
    weight = chain[1].weight.detach()
    expected = true @ torch.linalg.inv(weight.mT @ weight)
    found = VARIANTS["TP"].errors(chain, x, y, F.cross_entropy)["0"]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("seed", range(3))
def test_in_an_orthogonal_tower_rescaled_gait_is_backprop(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    tower = orthogonal_(narrowing([20, 20, 15, 8, 4]), generator)
    data = examples(generator, units=20)
    assert max(degrees(RESCALED, tower, *data)) < 0.01


@each_variant
def test_targets_of_auxiliary_units_are_their_activity(
    rule: Inverse, generator: torch.Generator
) -> None:
    tower, (x, y) = narrowing([8, 8, 5, 3]), examples(generator, units=8)
    errors = rule.errors(tower, x, y, F.cross_entropy)
    assert errors["0"].shape == (32, 8)
    assert errors["0"][:, 5:].abs().max() == 0
    assert errors["3"][:, 3:].abs().max() == 0
    assert errors["0"][:, :5].abs().min() > 0
    found = taught(rule, tower, x, y)
    assert found["0.weight"][5:].abs().max() == 0


def test_gradients_are_added_to_those_already_there(generator: torch.Generator) -> None:
    chain, (x, y) = square(3, generator, units=6), examples(generator, units=6)
    once = taught(Inverse(), chain, x, y)
    F.cross_entropy(chain(x), y).backward()
    before = {name: p.grad.clone() for name, p in chain.named_parameters()}
    Inverse().backward(chain, x, y, F.cross_entropy)
    for name, found in gradients(chain).items():
        assert torch.equal(found, before[name] + once[name])


def test_the_loss_is_the_chains_own_and_the_chain_is_left_as_it_was(
    generator: torch.Generator,
) -> None:
    chain, (x, y) = square(3, generator, units=6), examples(generator, units=6)
    before = {name: value.clone() for name, value in chain.state_dict().items()}
    loss = Inverse(orthogonality=2.0).backward(chain, x, y, F.cross_entropy)
    assert torch.equal(loss, F.cross_entropy(chain(x), y).detach())
    assert not loss.requires_grad
    assert x.grad is None
    assert all(torch.equal(value, before[name]) for name, value in chain.state_dict().items())


def test_frozen_parameters_get_no_gradient_and_pass_targets_on(generator: torch.Generator) -> None:
    chain, (x, y) = square(3, generator, units=6), examples(generator, units=6)
    free = taught(Inverse(orthogonality=0.1), chain, x, y)
    chain[2].requires_grad_(False)
    frozen = taught(Inverse(orthogonality=0.1), chain, x, y)
    assert set(free) - set(frozen) == {"2.weight", "2.bias"}
    assert all(torch.equal(found, free[name]) for name, found in frozen.items())
