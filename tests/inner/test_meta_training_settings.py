"""Ways to run a lifetime in meta-training: what each changes, and what it leaves alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from metaplastic import (
    Backprop,
    CrossEntropy,
    Delta,
    Direct,
    Episode,
    Initialization,
    LearningRule,
    Oja,
    OnlineLearner,
    Unroll,
)
from metaplastic.stacked.readouts import CosineReadout, UnitLength
from tests.helpers.lifetimes import apart, dense, episodes, learner, meta_gradient


def oja(**options: object) -> LearningRule:
    return LearningRule(Direct(), Oja(rate=0.05), **options)  # type: ignore[arg-type]


def turned(episode: Episode, batch: int) -> Episode:
    """The lifetime from its queries to its support set, written out."""
    tasks, queries = episode.query_y.shape[:2]
    return episode._replace(
        support_x=episode.query_x.reshape(tasks, queries // batch, batch, -1),
        support_y=episode.query_y.reshape(tasks, queries // batch, batch),
        support_subtask=episode.query_subtask.reshape(tasks, queries // batch, batch),
        query_x=episode.support_x.flatten(1, 2),
        query_y=episode.support_y.flatten(1, 2),
        query_subtask=episode.support_subtask.flatten(1, 2),
    )


def test_both_ways_is_the_mean_of_a_lifetime_and_of_the_same_turned_round() -> None:
    made, episode = learner(dense(3, 4, 2), oja()), episodes(queries=6)
    there, back = meta_gradient(made, episode), meta_gradient(made, turned(episode, 2))
    loss = (made(episode).loss + made(turned(episode, 2)).loss) / 2
    made.unroll = Unroll(both_ways=True)
    both = meta_gradient(made, episode)
    assert torch.allclose(made(episode).loss, loss, atol=1e-14)
    assert apart(both, {name: (there[name] + back[name]) / 2 for name in there}) < 1e-12


def test_a_test_runs_one_way() -> None:
    made, episode = learner(dense(3, 4, 2), oja()), episodes()
    once = made.eval()(episode).loss
    made.unroll = Unroll(both_ways=True)
    assert torch.equal(made(episode).loss, once)


def test_queries_that_make_no_whole_steps_are_refused() -> None:
    made = learner(dense(3, 4, 2), oja())
    made.unroll = Unroll(both_ways=True)
    with pytest.raises(ValueError, match="3 queries, which is not a multiple of the 2 examples"):
        made(episodes(queries=3))


def image_learner() -> OnlineLearner:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.Flatten(),
        nn.Linear(72, 16), UnitLength(), CosineReadout(16, 3),
    )  # fmt: skip
    return OnlineLearner(network, oja(), CrossEntropy(3), plastic=1)


def images() -> Episode:
    return episodes(outputs=3, shape=(1, 5, 5), batch=1, dtype=torch.float32)


def test_a_bfloat16_encoder_gives_the_same_lifetime_to_its_precision_in_training_only() -> None:
    exact, episode = image_learner(), images()
    rough = image_learner()
    rough.unroll = Unroll(encoder="bfloat16")
    one, other = exact(episode), rough(episode)
    assert other.prediction.dtype is torch.float32
    assert not torch.equal(one.prediction, other.prediction)
    assert torch.allclose(one.prediction, other.prediction, atol=0.05)
    assert torch.equal(exact.eval()(episode).prediction, rough.eval()(episode).prediction)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="encoder is 'float16'"):
        Unroll(encoder="float16")  # type: ignore[arg-type]


def test_a_frozen_rule_leaves_initial_weights_as_they_are_until_the_test() -> None:
    made, episode = learner(dense(3, 4, 2), oja(frozen_in_training=True)), episodes()
    initial = made.initialize(episode.support_y, episode.seed)
    assert made.adapt(episode.support_x, episode.support_y, initial) is initial
    adapted = made.eval().adapt(episode.support_x, episode.support_y, initial)
    assert not torch.equal(adapted["2.weight"], initial["2.weight"])


def test_rate_scale_multiplies_every_rate() -> None:
    made, episode = learner(dense(3, 4, 2), LearningRule(Backprop(), Delta(rate=0.1))), episodes()
    initial = made.initialize(episode.support_y, episode.seed)
    made.rule.rate_scale = 0.5
    slower = made.adapt(episode.support_x, episode.support_y, initial)
    made.rule.rate_scale = 1.0
    for parameter in made.rule.plasticity.parameters():
        parameter.data *= 0.5
    halved = made.adapt(episode.support_x, episode.support_y, initial)
    assert all(torch.allclose(slower[name], halved[name], atol=1e-14) for name in slower)


def test_blank_rows_are_those_of_the_classes_to_come() -> None:
    made = learner(dense(3, 4, 5), oja(), initialization=Initialization(readout="blank"))
    episode = episodes(outputs=5)
    episode.support_y.clamp_(max=1)
    rows = made.initialize(episode.support_y, episode.seed)["2.weight"]
    assert not rows[:, :2].any()
    assert torch.equal(rows[:, 2:], made.network[2].weight[2:].expand(2, -1, -1))


def test_what_learns_in_batches_while_meta_trained_may_learn_online_at_test() -> None:
    rule = LearningRule(Backprop(), Delta(rate=0.1))
    options = {"passes": 3, "batch_learning": True}
    made = learner(dense(3, 4, 2), rule, online_at_test=True, **options)
    batches = learner(dense(3, 4, 2), LearningRule(Backprop(), Delta(rate=0.1)), **options)
    online = learner(dense(3, 4, 2), LearningRule(Backprop(), Delta(rate=0.1)))
    for other in (batches, online):
        other.load_state_dict(made.state_dict())
    episode = episodes()
    assert torch.equal(made(episode).prediction, batches(episode).prediction)
    assert torch.equal(made.eval()(episode).prediction, online.eval()(episode).prediction)
    assert (made.online, batches.online, online.online) == (True, False, True)
