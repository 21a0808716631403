"""A lifetime in blocks of steps is the lifetime step by step, and so is its meta-gradient."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from metaplastic import (
    Backprop,
    CrossEntropy,
    Delta,
    Direct,
    Hebb,
    Initialization,
    LearningRule,
    MeanSquaredError,
    NormalizedHebb,
    Oja,
    OnlineLearner,
    StableOja,
    Unroll,
)
from metaplastic.inner import blocks as blocks_module
from metaplastic.inner import written_out
from metaplastic.inner.blocks import blocks_of
from metaplastic.stacked.readouts import CosineReadout
from tests.helpers.lifetimes import episodes, learned

OUTPUTS, FEATURES, STEPS = 7, 6, 300
GRAINS = ("synapse", "neuron", "feature", "layer", "shared")


def runs_in_blocks(made: OnlineLearner, batch: int = 1) -> bool:
    site, executor = made.sites[0], made.executor
    assert isinstance(executor, written_out.WrittenOut)
    rates = made.rule.coefficients(made.sites, batch)
    last = site.layer == len(executor.stack.layers) - 1
    found = blocks_of(made.rule, site, last, made.objective, rates, made.unroll, batch)
    return len(made.sites) == 1 and found is not None


def lifetimes(made: OnlineLearner, batch: int, blocks: bool, steps: int = STEPS) -> list[Tensor]:
    """Predictions, final weights, and the gradients in inputs, initial weights and rates."""
    regression = isinstance(made.objective, MeanSquaredError)
    episode = episodes(
        outputs=OUTPUTS, shape=(FEATURES,), tasks=2, steps=steps, batch=batch, queries=5,
        regression=regression,
    )  # fmt: skip
    if not regression:
        episode.support_y[0].clamp_(max=2)  # some classes often, some never
    x = (0.3 * episode.support_x).requires_grad_()
    ways = {"blocks_of": blocks_of if blocks else lambda *_: None, "runs_by_row": lambda *_: False}
    with patch.multiple(written_out, **ways), patch.object(blocks_module, "FEW", 0):
        fast = made.adapt(x, episode.support_y, made.initialize(episode.support_y, episode.seed))
    prediction = made.predict(fast, episode.query_x)
    loss = made.objective.loss(prediction, episode.query_y).mean()
    leaves = [x, *learned(made).values()]
    slopes = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    return [prediction, *fast.values(), *slopes]


def require_same(made: OnlineLearner, batch: int = 1) -> None:
    assert runs_in_blocks(made, batch)
    one, other = (lifetimes(made, batch, blocks) for blocks in (True, False))
    for block, loop in zip(one, other, strict=True):
        apart, scale = (block - loop).detach().abs().max(), loop.detach().abs().max()
        assert float(apart) <= 1e-12 * float(scale)


def clamped(plasticity: Any, head: nn.Module | None = None, **options: Any) -> OnlineLearner:
    rule = LearningRule(Direct(), plasticity)
    network = nn.Sequential(head or nn.Linear(FEATURES, OUTPUTS))
    return OnlineLearner(network, rule, CrossEntropy(OUTPUTS), **options).double()


def taught_errors(rule: LearningRule, bias: bool = True, **options: Any) -> OnlineLearner:
    network = nn.Sequential(nn.Linear(FEATURES, OUTPUTS, bias=bias))
    return OnlineLearner(network, rule, MeanSquaredError(OUTPUTS), **options).double()


@pytest.mark.parametrize("grain", GRAINS)
@pytest.mark.parametrize("kind", [Oja, StableOja, Hebb, NormalizedHebb])
def test_a_readout_clamped_to_labels_learns_all_examples_at_once(kind: Any, grain: Any) -> None:
    require_same(clamped(kind(rate=0.05, per=grain)))


def test_rates_may_overshoot_be_negative_or_forget_all() -> None:
    for rate in (1.3, -0.01, 1.0):
        require_same(clamped(Oja(rate=rate, per="feature")))


def test_it_is_so_where_fewer_examples_than_rows_are_learned_and_for_any_head() -> None:
    made = clamped(Oja(rate=0.3), CosineReadout(FEATURES, OUTPUTS))
    one, other = (lifetimes(made, 1, blocks, steps=4) for blocks in (True, False))
    for block, loop in zip(one, other, strict=True):
        assert torch.allclose(block, loop, rtol=0, atol=1e-14)


def test_it_is_so_on_every_pass_from_any_initialization_and_where_steps_would_be_compiled() -> None:
    how = {"passes": 3, "initialization": Initialization(readout="redrawn")}
    require_same(clamped(Oja(rate=0.1), **how))
    require_same(taught_errors(LearningRule(Backprop(), Delta(rate=0.1, per="layer")), **how))
    assert runs_in_blocks(clamped(Oja(rate=0.1), unroll=Unroll(compile=True)))


def test_few_examples_of_each_class_are_learned_row_by_row_on_a_processor() -> None:
    made = clamped(Oja(rate=0.1))
    with patch.object(blocks_module, "adapt_by_row", wraps=blocks_module.adapt_by_row) as by_row:
        episode = episodes(outputs=OUTPUTS, shape=(FEATURES,), tasks=1, steps=600, batch=1)
        initial = made.initialize(episode.support_y, episode.seed)
        made.adapt(episode.support_x, episode.support_y, initial)
        assert by_row.call_count == 1
        made.adapt(episode.support_x, torch.zeros_like(episode.support_y), initial)
        assert by_row.call_count == 1


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [1, 3, 200])
@pytest.mark.parametrize("grain", ["feature", "layer", "shared"])
def test_the_delta_rule_of_a_squared_error_runs_in_blocks(
    grain: Any, batch: int, bias: bool
) -> None:
    require_same(
        taught_errors(LearningRule(Backprop(), Delta(rate=0.2, per=grain)), bias=bias), batch
    )


def test_so_does_a_readout_clamped_to_its_error_whose_bias_stays() -> None:
    require_same(taught_errors(LearningRule(Direct(teaching="error"), Hebb(rate=0.1, per="layer"))))


def test_a_stream_may_be_learned_piece_by_piece() -> None:
    for made in (
        clamped(Oja(rate=0.2)),
        taught_errors(LearningRule(Backprop(), Delta(rate=0.1, per="layer"))),
    ):
        regression = isinstance(made.objective, MeanSquaredError)
        episode = episodes(
            outputs=OUTPUTS, shape=(FEATURES,), steps=30, batch=1, regression=regression
        )
        x, y = episode.support_x, episode.support_y
        pieces = whole = made.initialize(y, episode.seed)
        whole = made.adapt(x, y, whole)
        for steps in (slice(0, 1), slice(1, 17), slice(17, 17), slice(17, 30)):
            pieces = made.adapt(x[:, steps], y[:, steps], pieces)
        for name in whole:
            assert torch.allclose(whole[name], pieces[name], rtol=0, atol=1e-13)


def test_steps_that_are_not_linear_are_taken_one_by_one() -> None:
    def delta(**options: Any) -> LearningRule:
        return LearningRule(Backprop(**options), Delta(rate=0.1, per="layer"))

    two = nn.Sequential(nn.Linear(FEATURES, OUTPUTS), nn.Tanh())

    class Squared(Oja):
        def delta(self, *given: Any, **named: Any) -> Tensor:
            return super().delta(*given, **named).square()

    every = LearningRule(Backprop(), Delta(rate=0.1))
    constant = Direct(teaching="error", detach_error=True)
    detached = LearningRule(constant, Hebb(rate=0.1, per="layer"))
    classes = OnlineLearner(
        nn.Sequential(nn.Linear(FEATURES, OUTPUTS)), delta(), CrossEntropy(OUTPUTS)
    )
    for made in (
        taught_errors(every),
        taught_errors(delta(second_order=False)),
        taught_errors(detached),
        taught_errors(delta(), unroll=Unroll(truncate=3)),
        OnlineLearner(two, delta(), MeanSquaredError(OUTPUTS)),
        clamped(Squared(rate=0.1)),
        classes,
    ):
        assert not runs_in_blocks(made)
    assert not runs_in_blocks(clamped(Oja(rate=0.1)), batch=2)
