"""Rules that are an outer product: one call gives the same weights, only where it is declared."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from metaplastic import (
    Backprop,
    Delta,
    Direct,
    FeedbackPathway,
    Hebb,
    LearningRule,
    MeanSquaredError,
    OnlineLearner,
    PlasticityRule,
)
from metaplastic.plasticity.outer_product import add_outer_product, outer_product
from tests.helpers.lifetimes import episodes, learned

GRAINS = ("synapse", "neuron", "feature", "layer", "shared")
FEATURES, OUTPUTS = 6, 3


class Halved(Hebb):
    """Inherits from a rule that is an outer product of its rate, and no longer is."""

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        return super().delta(weight, pre, post, signal, rate) / 2


def adapted(plasticity: PlasticityRule, short: bool, batch: int) -> list[Tensor]:
    """Predictions and meta-gradient of two lifetimes of a network with two plastic layers."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(FEATURES, 5), nn.Tanh(), nn.Linear(5, OUTPUTS))
    pathway: FeedbackPathway = Backprop()
    if not isinstance(plasticity, Delta):
        pathway = Direct(teaching="error", nonlinearity="linear", strength=1.0)
    rule = LearningRule(pathway, plasticity)
    learner = OnlineLearner(network, rule, MeanSquaredError(OUTPUTS)).double()
    episode = episodes(outputs=OUTPUTS, shape=(FEATURES,), steps=6, batch=batch, regression=True)
    if not short:
        with patch.object(PlasticityRule, "promises", lambda *_: False):
            outcome = learner(episode)
    else:
        outcome = learner(episode)
    leaves = list(learned(learner).values())
    found = torch.autograd.grad(outcome.loss, leaves, allow_unused=True, materialize_grads=True)
    return [outcome.prediction, *found]


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("grain", GRAINS)
@pytest.mark.parametrize("kind", [Hebb, Delta])
def test_the_short_form_gives_the_same_lifetime(kind: Any, grain: Any, batch: int) -> None:
    def fresh() -> PlasticityRule:
        rule: PlasticityRule = kind(rate=0.2, per=grain, scale="log")
        return rule

    for one, other in zip(
        adapted(fresh(), True, batch), adapted(fresh(), False, batch), strict=True
    ):
        assert torch.allclose(one, other, rtol=0, atol=1e-14)


def test_a_subclass_with_another_delta_is_not_an_outer_product() -> None:
    assert Hebb(rate=0.4).promises("outer")
    assert not Halved(rate=0.4).promises("outer")
    halved, plain = (adapted(rule, True, 1)[0] for rule in (Halved(rate=0.4), Hebb(rate=0.2)))
    assert torch.allclose(halved, plain, rtol=0, atol=1e-14)
    assert not torch.allclose(halved, adapted(Hebb(rate=0.4), True, 1)[0])


@pytest.mark.parametrize("shape", [(1, 5), (3, 1), (1, 1), (3, 5), (2, 1, 5), (2, 3, 1), (2, 3, 5)])
def test_weights_are_updated_by_the_rate_of_each(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, pre, signal, rate = (
        torch.randn(size, generator=generator, dtype=torch.float64)
        for size in ((2, 3, 5), (2, 4, 5), (2, 4, 3), shape)
    )
    expected = weight + rate * outer_product(signal, pre)
    assert torch.allclose(
        add_outer_product(weight, pre, signal, rate), expected, rtol=0, atol=1e-14
    )


def test_autocast_does_not_round_the_weights() -> None:
    weight, pre, signal = torch.full((1, 3, 5), 1.001), torch.zeros(1, 1, 5), torch.zeros(1, 1, 3)
    with torch.autocast("cpu", torch.bfloat16):
        after = add_outer_product(weight, pre, signal, torch.ones(1, 5))
    assert torch.equal(after, weight)


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("posts", [1, 3])
def test_an_outer_product_is_that_of_einsum_with_and_without_a_graph(rows: int, posts: int) -> None:
    signal = torch.randn(4, rows, posts, dtype=torch.float64, requires_grad=True)
    pre = torch.randn(4, rows, 5, dtype=torch.float64, requires_grad=True)
    expected = torch.einsum("trp,trq->tpq", signal, pre)
    with torch.no_grad():
        torch.testing.assert_close(outer_product(signal, pre), expected, rtol=0, atol=1e-15)
    found = outer_product(signal, pre)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)
    slope = torch.randn_like(expected)
    ours, theirs = (torch.autograd.grad(y, [signal, pre], slope) for y in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-14)
