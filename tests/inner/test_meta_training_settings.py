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


def turned(life: Episode, batch: int) -> Episode:
    """The lifetime from its questions to its lessons, written out."""
    tasks, queries = life.query_y.shape[:2]
    return life._replace(
        support_x=life.query_x.reshape(tasks, queries // batch, batch, -1),
        support_y=life.query_y.reshape(tasks, queries // batch, batch),
        support_subtask=life.query_subtask.reshape(tasks, queries // batch, batch),
        query_x=life.support_x.flatten(1, 2),
        query_y=life.support_y.flatten(1, 2),
        query_subtask=life.support_subtask.flatten(1, 2),
    )


def test_both_ways_is_the_mean_of_a_lifetime_and_of_the_same_turned_round() -> None:
    made, life = learner(dense(3, 4, 2), oja()), episodes(queries=6)
    there, back = meta_gradient(made, life), meta_gradient(made, turned(life, 2))
    loss = (made(life).loss + made(turned(life, 2)).loss) / 2
    made.unroll = Unroll(both_ways=True)
    both = meta_gradient(made, life)
    assert torch.allclose(made(life).loss, loss, atol=1e-14)
    assert apart(both, {name: (there[name] + back[name]) / 2 for name in there}) < 1e-12


def test_a_test_is_lived_one_way() -> None:
    made, life = learner(dense(3, 4, 2), oja()), episodes()
    once = made.eval()(life).loss
    made.unroll = Unroll(both_ways=True)
    assert torch.equal(made(life).loss, once)


def test_questions_that_make_no_whole_steps_are_refused() -> None:
    made = learner(dense(3, 4, 2), oja())
    made.unroll = Unroll(both_ways=True)
    with pytest.raises(ValueError, match="3 queries, which is not a multiple of the 2 examples"):
        made(episodes(queries=3))


def picture_learner() -> OnlineLearner:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.Flatten(),
        nn.Linear(72, 16), UnitLength(), CosineReadout(16, 3),
    )  # fmt: skip
    return OnlineLearner(network, oja(), CrossEntropy(3), plastic=1)


def pictures() -> Episode:
    return episodes(outputs=3, shape=(1, 5, 5), batch=1, dtype=torch.float32)


def test_a_bfloat16_encoder_gives_the_same_lifetime_to_its_precision_in_training_only() -> None:
    exact, life = picture_learner(), pictures()
    rough = picture_learner()
    rough.unroll = Unroll(encoder="bfloat16")
    one, other = exact(life), rough(life)
    assert other.prediction.dtype is torch.float32
    assert not torch.equal(one.prediction, other.prediction)
    assert torch.allclose(one.prediction, other.prediction, atol=0.05)
    assert torch.equal(exact.eval()(life).prediction, rough.eval()(life).prediction)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="encoder is 'float16'"):
        Unroll(encoder="float16")  # type: ignore[arg-type]


def test_a_rule_that_rests_leaves_weights_as_they_were_born_until_the_test() -> None:
    made, life = learner(dense(3, 4, 2), oja(frozen_in_training=True)), episodes()
    born = made.initialize(life.support_y, life.seed)
    assert made.adapt(life.support_x, life.support_y, born) is born
    lived = made.eval().adapt(life.support_x, life.support_y, born)
    assert not torch.equal(lived["2.weight"], born["2.weight"])


def test_pace_multiplies_every_rate() -> None:
    made, life = learner(dense(3, 4, 2), LearningRule(Backprop(), Delta(rate=0.1))), episodes()
    born = made.initialize(life.support_y, life.seed)
    made.rule.rate_scale = 0.5
    slower = made.adapt(life.support_x, life.support_y, born)
    made.rule.rate_scale = 1.0
    for parameter in made.rule.plasticity.parameters():
        parameter.data *= 0.5
    halved = made.adapt(life.support_x, life.support_y, born)
    assert all(torch.allclose(slower[name], halved[name], atol=1e-14) for name in slower)


def test_blank_rows_are_those_of_the_classes_to_come() -> None:
    made = learner(dense(3, 4, 5), oja(), initialization=Initialization(readout="blank"))
    life = episodes(outputs=5)
    life.support_y.clamp_(max=1)
    rows = made.initialize(life.support_y, life.seed)["2.weight"]
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
    life = episodes()
    assert torch.equal(made(life).prediction, batches(life).prediction)
    assert torch.equal(made.eval()(life).prediction, online.eval()(life).prediction)
    assert (made.online, batches.online, online.online) == (True, False, True)
