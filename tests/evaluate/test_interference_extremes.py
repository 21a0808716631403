"""Interference where numbers are tiny, huge or none, and where there is more than weights."""

from __future__ import annotations

import math

import pytest
import torch

from metaplastic import Backprop, Delta, LearningRule, RandomDirect, RandomFeedback
from metaplastic.episode import Episode
from metaplastic.evaluate.interference import interference
from tests.evaluate.test_interference import AFTER, flp, one_episode, sgd
from tests.helpers.lifetimes import dense, episodes, learner


def test_a_rate_of_nothing_changes_nothing() -> None:
    """In float32 losses before and after differ by rounding, and some are called harm."""
    found = interference(sgd(0.0).float(), single(one_episode()))
    assert found.harmed() == 0
    assert float(found.change.abs().max()) == 0


def test_tiny_updates_keep_their_direction() -> None:
    sites = interference(sgd(1e-8).float(), single(one_episode())).sites()
    assert all(numbers["angle"] < 1e-3 for numbers in sites.values())


def single(episode: Episode) -> Episode:
    return episode._replace(support_x=episode.support_x.float(), query_x=episode.query_x.float())


def test_what_explodes_is_the_worst_harm() -> None:
    rule = LearningRule(Backprop(), Delta(rate=1.0, per="shared", learn=False))
    made = learner(dense(6, 5, 5, 4), rule, jitter=False, regression=True)
    made.rule.rate_scale = 1e300
    episode = episodes(outputs=4, shape=(6,), tasks=2, steps=5, batch=1, regression=True)
    subtask = torch.arange(5).expand(2, 5)[..., None]
    found = interference(made, episode._replace(support_subtask=subtask), after=0)
    assert found.harmed() == 1
    assert found.same_example() == found.across() == math.inf


@pytest.mark.parametrize("feedback", [RandomFeedback, RandomDirect])
def test_feedback_that_is_sampled_at_initialization_is_no_plastic_weight(
    feedback: type[RandomFeedback] | type[RandomDirect],
) -> None:
    rule = LearningRule(feedback(weights="redrawn"), Delta(rate=0.05))
    made = learner(dense(6, 5, 4), rule)
    found = interference(made, one_episode(), after=AFTER)
    assert set(found.updates) == {name for name in found.gradients if "feedback" not in name}
    assert list(found.sites()) == [site.name for site in made.sites]


def test_minibatches_of_several_classes_are_refused() -> None:
    episode = one_episode(batch=2)
    mixed = episode.support_subtask.clone()
    mixed[0, 3, 1] = 0
    with pytest.raises(ValueError, match="mix subtasks"):
        interference(flp(), episode._replace(support_subtask=mixed))
