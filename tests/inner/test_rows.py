"""Learning row by row is learning step by step, to rounding, and only where it is."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from metaplastic import (
    CrossEntropy,
    Direct,
    Hebb,
    Initialization,
    LearningRule,
    NormalizedHebb,
    Oja,
    OnlineLearner,
    PlasticityRule,
    StableOja,
    Unroll,
)
from metaplastic.inner import rows
from metaplastic.stacked.readouts import CosineReadout, UnitLength
from tests.helpers.lifetimes import episodes, learned

RULES = (Oja, Hebb, StableOja, NormalizedHebb)
GRAINS = ("synapse", "neuron", "feature", "layer", "shared")
OUTPUTS, FEATURES = 7, 6


class ReadsItsOwnAnswer(Oja):
    """Inherits from a rule that learns by row, and no longer does."""

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        return super().delta(weight, pre, post, signal, rate) * post.mean()


def made(
    plasticity: PlasticityRule, head: nn.Module | None = None, **options: Any
) -> OnlineLearner:
    torch.manual_seed(0)
    network = nn.Sequential(UnitLength(), head or CosineReadout(FEATURES, OUTPUTS))
    rule = LearningRule(Direct(strength=1.0), plasticity)
    return OnlineLearner(network, rule, CrossEntropy(OUTPUTS), **options).double()


def runs_by_row(learner: OnlineLearner, batch: int = 1) -> bool:
    return rows.runs_by_row(learner.rule, learner.sites, learner.objective, learner.unroll, batch)


def adapted(
    learner: OnlineLearner, by_row: bool, batch: int = 1, once: bool = False
) -> list[Tensor]:
    """Answers and meta-gradient of three lifetimes whose classes come unequally, or `once`."""
    steps = OUTPUTS - 1 if once else 40
    episode = episodes(
        outputs=OUTPUTS, shape=(FEATURES,), tasks=3, steps=steps, batch=batch, queries=5
    )
    if once:
        episode.support_y[:, :, 0] = torch.arange(steps).flip(0)
    else:
        episode.support_y[0].clamp_(max=2)
    step_by_step = {"blocks_of": lambda *_: None, "runs_by_row": lambda *_: by_row}
    with patch.multiple("metaplastic.inner.written_out", **step_by_step):
        outcome = learner(episode)
    leaves = list(learned(learner).values())
    found = torch.autograd.grad(outcome.loss, leaves, allow_unused=True, materialize_grads=True)
    return [outcome.prediction, *found]


@pytest.mark.parametrize("grain", GRAINS)
@pytest.mark.parametrize("kind", RULES)
def test_learning_by_row_is_learning_step_by_step(kind: Any, grain: Any) -> None:
    learner = made(kind(rate=0.3, per=grain))
    assert runs_by_row(learner)
    for one, other in zip(adapted(learner, True), adapted(learner, False), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-14)


@pytest.mark.parametrize("grain", GRAINS)
def test_it_is_so_where_every_class_comes_once(grain: Any) -> None:
    learner = made(Oja(rate=0.3, per=grain))
    with patch.object(rows, "_rows_left") as in_order:
        found = adapted(learner, True, once=True)
    assert not in_order.called
    for one, other in zip(found, adapted(learner, False, once=True), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-14)


def test_it_is_so_from_any_initialization_for_any_head_and_on_every_pass() -> None:
    linear = nn.Linear(FEATURES, OUTPUTS)
    learner = made(
        Oja(rate=0.2), linear, passes=3, initialization=Initialization(readout="redrawn")
    )
    assert runs_by_row(learner)
    for one, other in zip(adapted(learner, True), adapted(learner, False), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-14)


def test_a_stream_may_be_learned_piece_by_piece() -> None:
    learner = made(Oja(rate=0.2))
    episode = episodes(outputs=OUTPUTS, shape=(FEATURES,), tasks=2, steps=30, batch=1)
    whole = pieces = learner.initialize(episode.support_y, episode.seed)
    whole = learner.adapt(episode.support_x, episode.support_y, whole)
    for steps in (slice(0, 1), slice(1, 17), slice(17, 17), slice(17, 30)):
        pieces = learner.adapt(episode.support_x[:, steps], episode.support_y[:, steps], pieces)
    assert torch.allclose(whole["1.weight"], pieces["1.weight"], rtol=0, atol=1e-14)


def test_rows_that_are_taught_nothing_stay_as_they_were_to_the_bit() -> None:
    learner = made(Hebb(rate=0.2))
    episode = episodes(outputs=OUTPUTS, shape=(FEATURES,), tasks=2, steps=30, batch=1)
    episode.support_y.clamp_(max=3)
    initial = learner.initialize(episode.support_y, episode.seed)
    after = learner.adapt(episode.support_x, episode.support_y, initial)
    assert torch.equal(initial["1.weight"][:, 4:], after["1.weight"][:, 4:])


def test_rules_that_make_no_such_promise_are_taken_step_by_step() -> None:
    deep = nn.Sequential(nn.Linear(FEATURES, 4), nn.Tanh(), nn.Linear(4, OUTPUTS))
    hidden = OnlineLearner(deep, LearningRule(Direct(), Oja(rate=0.1)), CrossEntropy(OUTPUTS))
    error = LearningRule(Direct(teaching="error"), Oja(rate=0.1))
    taught_errors = OnlineLearner(
        nn.Sequential(nn.Linear(FEATURES, OUTPUTS)), error, CrossEntropy(OUTPUTS)
    )
    cut = made(Oja(rate=0.1), unroll=Unroll(truncate=3))
    for learner in (made(ReadsItsOwnAnswer(rate=0.1)), hidden, taught_errors, cut):
        assert not runs_by_row(learner)
    assert not runs_by_row(made(Oja(rate=0.1)), batch=2)
