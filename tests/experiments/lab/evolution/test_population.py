"""The population engine against the inner step of the library, and its mirror against noise."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from experiments.lab.evolution.adaptation import columns
from experiments.lab.evolution.networks import KINDS, random_network
from experiments.lab.evolution.noise_mirror import mirrored, root_of_covariance
from experiments.lab.evolution.population import Population
from experiments.lab.evolution.rows import rows_of
from experiments.lab.evolution.space import first_point, neutralized, options_at, rule_of
from experiments.lab.transfer import batched
from metaplastic import LearningRule, RandomFeedback
from metaplastic.alignment import KolenPollackAlignment

NUMBERS = options_at(first_point()) | {
    "rate": 0.02, "hidden": 0.7, "gain": 0.9, "feedback_decay": 0.03, "weight_decay": 0.5,
}  # fmt: skip


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    """The rates of a rule are of the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def small_lifetimes(steps: int = 7, count: int = 3) -> batched.Lifetimes:
    g = torch.Generator().manual_seed(1)
    x = torch.randn(count, steps + 9, 1, 8, 8, generator=g, dtype=torch.float64)
    y = torch.randint(4, (count, steps + 9), generator=g)
    return batched.Lifetimes(x[:, :steps], y[:, :steps], x[:, steps:], y[:, steps:], [3, 5, 8], 4)


def made(kind: str, seed: int) -> Any:
    make = random_network((1, 8, 8), 4, random.Random(seed), kind=kind)
    return lambda own: make(own).double()


def as_rows(names: list[str], first: Tensor, values: dict[str, Tensor], sizes: list[int]) -> Tensor:
    """Feedback by site as rows of parameters; `first` where there is none."""
    parts = list(torch.split(first, sizes, 1))
    for number, name in enumerate(names):
        site = name.removesuffix(".weight")
        if name.endswith("weight") and site in values:
            parts[number] = values[site].reshape(parts[number].shape)
    return torch.cat(parts, 1)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", sorted(set(KINDS)))
def test_a_lifetime_of_a_population_is_that_of_the_inner_step(kind: str, seed: int) -> None:
    lifetimes, make = small_lifetimes(), made(kind, seed)
    steps, states = lifetimes.x.shape[1], []
    awake = KolenPollackAlignment(decay=NUMBERS["feedback_decay"], gain=NUMBERS["gain"])
    plasticity = rule_of(NUMBERS).plasticity
    rule = LearningRule(RandomFeedback(), plasticity, awake, hidden_multiplier=NUMBERS["hidden"])
    batched.accuracies(
        rule, make, lifetimes, [0, steps], seen=lambda state, network: states.append(state)
    )
    rows = rows_of(make(3))
    first = torch.cat([states[0].weights[name].flatten(1) for name in rows.names], 1)
    feedback = as_rows(rows.names, first, states[0].feedback, rows.sizes)

    other = NUMBERS | {"rate": 0.3}  # a neighbor that must not matter
    population = Population(make, lifetimes, 2, rows_of_noise=None, feedback=feedback)
    adapt, state = population.adaptation(columns([other, NUMBERS])), population.first
    for number in range(steps):
        state = population.step(state, adapt, number)
    after = torch.cat([states[1].weights[name].flatten(1) for name in rows.names], 1)
    assert (after - first).abs().max() > 1e-3
    torch.testing.assert_close(state.flat[3:], after, rtol=0, atol=1e-10)
    assert state.back is not None
    theirs = as_rows(rows.names, state.back[3:], states[1].feedback, rows.sizes)
    torch.testing.assert_close(state.back[3:], theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", sorted(set(KINDS)))
def test_a_differentiable_step_is_the_plain_one(kind: str) -> None:
    lifetimes, make = small_lifetimes(), made(kind, 3)
    population = Population(make, lifetimes, 1, rows_of_noise=64)
    adapt = population.adaptation(columns([NUMBERS | {"sleep": 2.0}]))
    plain = graph = population.first._replace(flat=population.first.flat.requires_grad_())
    for number in range(4):
        plain = population.step(plain.detached(), adapt, number)
        graph = population.step(graph, adapt, number, differentiable=True)
    for one, other in zip(plain, graph, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_a_rule_that_sleeps_mirrors_its_weights_every_so_many_examples() -> None:
    lifetimes, make = small_lifetimes(), made("dense", 0)
    numbers = [NUMBERS | {"sleep": 3.0, "gain": 0.0}, neutralized(NUMBERS, "sleep")]
    population = Population(make, lifetimes, 2, rows_of_noise=100_000)
    adapt, state = population.adaptation(columns(numbers)), population.first
    ahead = []
    for number in range(5):
        state = population.step(state, adapt, number)
        assert state.back is not None
        ahead.append((state.flat - state.back).norm(dim=1).view(2, 3).mean(1))
    off = torch.stack(ahead)
    # The first rule's feedback, which follows nothing, is left behind until it sleeps.
    assert off[2, 0] > off[1, 0] > off[0, 0]
    assert off[3, 0] < off[2, 0]
    assert [number for number in range(7) if adapt.sleeping(number) is not None] == [3, 6]


@pytest.mark.parametrize("count", [5, 40])
def test_a_sampled_covariance_has_the_moments_of_that_of_noise(count: int) -> None:
    roots = [root_of_covariance(count, 10, [k], torch.float64) for k in range(4000)]
    covariances = torch.stack([root @ root.mT for root in roots])
    torch.testing.assert_close(covariances.mean(0), torch.eye(10).double(), rtol=0, atol=0.05)
    # Of a Wishart matrix: (1 + [i = j]) / count.
    wanted = (1 + torch.eye(10, dtype=torch.float64)) / count
    torch.testing.assert_close(covariances.var(0), wanted, rtol=0.2, atol=0)
    noise = np.random.default_rng(0).standard_normal((4000, count, 10))
    largest = torch.from_numpy(np.linalg.eigvalsh(noise.transpose(0, 2, 1) @ noise / count)[:, -1])
    found = torch.linalg.eigvalsh(covariances)[:, -1]
    torch.testing.assert_close(found.mean(), largest.mean(), rtol=0.02, atol=0)


def test_mirrored_feedback_nears_the_weights_with_more_noise() -> None:
    network = made("dense", 0)(0)
    rows = rows_of(network)
    first = torch.nn.utils.parameters_to_vector(network.parameters()).detach()[None]
    far, near = (mirrored(first, rows, n, [1], 0) - first for n in (400, 40_000))
    assert 0 < near.norm() < 0.2 * far.norm()
    assert far.norm() < first.norm()
    torch.testing.assert_close(far[:, : rows.sizes[0]], torch.zeros(1, rows.sizes[0]).double())
