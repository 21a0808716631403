"""How a lifetime is run changes its cost and, but for truncation, nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from metaplastic import (
    Direct,
    FeedbackPathway,
    LearningRule,
    OnlineLearner,
    PlasticityRule,
    Unroll,
)
from tests.helpers.lifetimes import (
    RULES,
    Rule,
    apart,
    convolutional,
    dense,
    episodes,
    learned,
    learner,
    meta_gradient,
    the_same,
)


def other_layers() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(4, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 5), nn.SiLU(), nn.Linear(5, 2)
    )


NETWORKS: dict[str, tuple[Callable[[], nn.Sequential], tuple[int, ...]]] = {
    "dense": (lambda: dense(4, 6, 5, 2), (4,)),
    "convolutional": (convolutional, (1, 5, 5)),
    "other layers": (other_layers, (4,)),
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
@pytest.mark.parametrize("every", [3, 20])
def test_checkpointing_changes_no_bit(every: int, rule: Rule, network: str) -> None:
    make, shape = NETWORKS[network]
    made, episode = learner(make(), rule()), episodes(shape=shape, steps=7)
    plain = made(episode).loss, meta_gradient(made, episode)
    made.unroll = Unroll(checkpoint_every=every)
    assert torch.equal(made(episode).loss, plain[0])
    assert the_same(meta_gradient(made, episode), plain[1])


def test_checkpointing_covers_several_passes() -> None:
    made, episode = (
        learner(dense(4, 5, 2), RULES["SGD, second order"](), passes=5),
        episodes(shape=(4,), steps=1),
    )
    plain = meta_gradient(made, episode)
    made.unroll = Unroll(checkpoint_every=2)
    assert the_same(meta_gradient(made, episode), plain)


@pytest.mark.parametrize("checkpoint_every", [None, 2])
@pytest.mark.parametrize(("steps", "passes"), [(7, 1), (1, 7)])
def test_truncation_is_a_loop_detached_by_hand_and_is_biased(
    steps: int, passes: int, checkpoint_every: int | None
) -> None:
    made = learner(dense(4, 5, 2), RULES["SGD, second order"](), passes=passes)
    episode = episodes(shape=(4,), steps=steps)
    exact, loss = meta_gradient(made, episode), made(episode).loss
    made.unroll = Unroll(truncate=3, checkpoint_every=checkpoint_every)
    assert torch.equal(made(episode).loss, loss)
    truncated = meta_gradient(made, episode)

    made.unroll, made.passes = Unroll(), 1
    fast = made.initialize(episode.support_y, episode.seed)
    for step in range(7):
        if step == 4:  # three steps before the end
            fast = {name: weight.detach() for name, weight in fast.items()}
        now = slice(step % steps, step % steps + 1)
        fast = made.adapt(episode.support_x[:, now], episode.support_y[:, now], fast)
    by_hand = made.objective.loss(made.predict(fast, episode.query_x), episode.query_y).mean()
    expected = torch.autograd.grad(
        by_hand, list(learned(made).values()), allow_unused=True, materialize_grads=True
    )
    assert the_same(truncated, dict(zip(learned(made), expected, strict=True)))
    assert apart(truncated, exact) > 0.1


def test_truncation_longer_than_the_lifetime_is_none() -> None:
    made, episode = learner(dense(4, 5, 2), RULES["Oja"]()), episodes(shape=(4,), steps=4)
    exact = meta_gradient(made, episode)
    made.unroll = Unroll(truncate=4)
    assert the_same(meta_gradient(made, episode), exact)


class Decay(PlasticityRule):
    """A user's own rule, in one method."""

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        return -rate * weight


def test_a_users_rule_needs_one_method() -> None:
    made = learner(dense(4, 5, 2), LearningRule(Direct(), Decay(rate=0.5)), jitter=False, plastic=2)
    assert isinstance(made, OnlineLearner)
    assert isinstance(made.rule.pathway, FeedbackPathway)
    episode = episodes(shape=(4,), steps=2, batch=1)
    fast = made.adapt(
        episode.support_x, episode.support_y, made.initialize(episode.support_y, episode.seed)
    )
    assert torch.allclose(fast["2.weight"], made.network[2].weight / 4)
