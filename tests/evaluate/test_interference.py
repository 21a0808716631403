"""Interference is what it says: one example learned, every loss computed again."""

from __future__ import annotations

import math
from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from metaplastic import (
    Backprop,
    Delta,
    Direct,
    LearningRule,
    Oja,
    OnlineLearner,
)
from metaplastic.episode import Episode
from metaplastic.evaluate.interference import interference
from tests.helpers.lifetimes import dense, episodes, learner

AFTER = 3
PAIRS = "within", "across"
SIDES = slice(AFTER), slice(AFTER, None)


def flp(regression: bool = False) -> OnlineLearner:
    rule = LearningRule(Direct(teaching="error", nonlinearity="linear"), Oja(rate=0.05))
    return learner(dense(6, 5, 4), rule, regression=regression)


def sgd(rate: float) -> OnlineLearner:
    torch.manual_seed(0)  # the same network at every rate
    rule = LearningRule(Backprop(), Delta(rate=rate, per="shared", learn=False))
    return learner(dense(6, 5, 4), rule, jitter=False)


def one_episode(batch: int = 1) -> Episode:
    drawn = episodes(outputs=4, shape=(6,), tasks=2, steps=5, batch=batch)
    subtask = torch.tensor([[0, 0, 1, 1, 2], [0, 1, 1, 2, 2]])[..., None].expand(2, 5, batch)
    return drawn._replace(support_subtask=subtask)


def loss_of(made: OnlineLearner, fast: dict[str, Tensor], episode: Episode, step: int) -> Tensor:
    prediction = made.predict(fast, made.encode(episode.support_x[:, step].flatten(0, 1))[None])
    return made.objective.loss(prediction, episode.support_y[:, step].reshape(1, -1)).mean(1)


@pytest.mark.parametrize("batch", [1, 2])
def test_the_matrix_is_losses_before_and_after_one_step_of_the_learner(batch: int) -> None:
    made, episode = flp(), one_episode(batch)
    found = interference(made, episode, after=AFTER, chunk=2)
    assert found.change.shape == (2, 5, 5)
    for task in range(2):
        one = episode.select(slice(task, task + 1))
        with torch.no_grad():
            fast = made.adapt(
                one.support_x[:, :AFTER],
                one.support_y[:, :AFTER],
                made.initialize(one.support_y, one.seed),
            )
            before = [loss_of(made, fast, one, j) for j in range(5)]
            for i in range(5):
                step = slice(i, i + 1)
                after = made.adapt(one.support_x[:, step], one.support_y[:, step], fast)
                for j in range(5):
                    expected = loss_of(made, after, one, j) - before[j]
                    assert float(found.change[task, i, j]) == pytest.approx(
                        float(expected), rel=1e-9, abs=1e-12
                    )


def test_the_first_order_estimate_is_exact_in_the_limit_of_small_updates() -> None:
    rates = (1e-2, 1e-3, 1e-4)
    errors = [interference(sgd(rate), one_episode(), after=0).first_order_error for rate in rates]
    assert errors[0] < 0.5
    for coarse, fine in pairwise(errors):
        assert fine == pytest.approx(coarse / 10, rel=0.2)


def test_where_few_updates_are_tried_the_estimate_stands_and_its_error_is_theirs() -> None:
    made, episode = flp(), one_episode()
    whole = interference(made, episode, after=AFTER)
    assert whole.measured == tuple(range(5))
    few = interference(made, episode, after=AFTER, exact=2)
    assert few.measured == (0, 4)
    torch.testing.assert_close(few.exact, whole.change[:, [0, 4]])
    torch.testing.assert_close(few.change, whole.first_order)
    wrong = (whole.first_order - whole.change)[:, [0, 4]].norm()
    assert few.first_order_error == pytest.approx(float(wrong / whole.change[:, [0, 4]].norm()))
    assert few.across() == pytest.approx(
        float(whole.first_order[few.subtask[:, :, None] != few.subtask[:, None]].mean())
    )
    assert interference(made, episode, after=AFTER, exact=1).measured == (2,)


def test_plain_sgd_is_the_gradient_and_its_own_update_is_no_degree_from_it() -> None:
    found = interference(sgd(0.1), one_episode(), after=2)
    for name, update in found.updates.items():
        torch.testing.assert_close(update, -0.1 * found.gradients[name])
    assert all(site["angle"] == pytest.approx(0, abs=1e-5) for site in found.sites().values())
    assert found.same_example() < 0


def test_gradient_updates_are_as_long_as_the_rules_and_point_down_the_gradient() -> None:
    made = flp()
    rule, descent = (
        interference(made, one_episode(), after=2, update=u) for u in ("rule", "gradient")
    )
    assert all(site["angle"] == pytest.approx(0, abs=1e-5) for site in descent.sites().values())
    for site, numbers in rule.sites().items():
        assert descent.sites()[site]["size"] == pytest.approx(numbers["size"])


def test_cosines_and_dot_products_are_means_over_pairs_of_examples() -> None:
    found = interference(flp(), one_episode(), after=2)
    site, numbers = next(iter(found.sites().items()))
    updates = found.updates[site + ".weight"].flatten(2)
    seen: dict[str, list[float]] = {f"{k}_{w}": [] for k in ("cosine", "dot") for w in PAIRS}
    for task, rows in zip(found.subtask, updates, strict=True):
        for i, j in permutations(range(len(rows)), 2):
            where = "within" if task[i] == task[j] else "across"
            dot, sizes = float(rows[i] @ rows[j]), float(rows[i].norm() * rows[j].norm())
            seen["dot_" + where].append(dot)
            seen["cosine_" + where].append(dot / sizes if sizes else float("nan"))
    for name, values in seen.items():
        assert numbers[name] == pytest.approx(float(np.nanmean(values)), rel=1e-6, abs=1e-12)


def test_sites_apart_are_tried_apart() -> None:
    """In a linear readout the changes of prediction add up; here each site leaves the other be."""
    made, episode = flp(), one_episode()
    names = [site.name for site in made.sites]
    alone = interference(made, episode, sites=[names[-1]])
    assert set(alone.updates) == {names[-1] + ".weight"}  # Oja moves no bias
    whole = interference(made, episode, sites=names)
    torch.testing.assert_close(whole.change, interference(made, episode).change)
    assert not torch.allclose(alone.change, whole.change)


def test_a_readout_clamped_to_the_label_touches_no_other_classes_row() -> None:
    rule = LearningRule(Direct(), Oja(rate=0.05))
    made, episode = learner(dense(6, 5, 4), rule, jitter=False), one_episode()
    found = interference(made, episode)
    update = found.updates[made.sites[-1].name + ".weight"]
    labels = episode.support_y[..., 0]
    for task in range(2):
        for i in range(5):
            rows = update[task, i].abs().sum(1)
            assert rows[labels[task, i]] > 0
            assert rows.sum() == rows[labels[task, i]]


def test_means_are_over_the_pairs_they_name() -> None:
    found = interference(flp(), one_episode(), after=0)
    change, subtask = found.change, found.subtask
    own, within, across = [], [], []
    for task in range(2):
        for i in range(5):
            for j in range(5):
                same = bool(subtask[task, i] == subtask[task, j])
                pile = own if i == j else within if same else across
                pile.append(float(change[task, i, j]))
    assert found.same_example() == pytest.approx(sum(own) / len(own))
    assert found.across() == pytest.approx(sum(across) / len(across))
    assert found.within() == pytest.approx(sum(within) / len(within))
    distance, mean = found.by_distance()
    assert distance == list(range(-4, 5))
    assert mean[4] == pytest.approx(found.same_example())
    assert mean[0] == pytest.approx(float(change[:, 4, 0].mean()))
    assert set(found.summary()) >= {"same_example", "across", "sites", "first_order_error"}


def test_seen_examples_are_separated_from_those_to_come() -> None:
    found = interference(flp(), one_episode(), after=AFTER)
    other = found.subtask[:, :, None] != found.subtask[:, None]
    past, future = ([float(c) for c in found.change[..., part][other[..., part]]] for part in SIDES)
    assert found.across(seen=True) == pytest.approx(sum(past) / len(past))
    assert found.across(seen=False) == pytest.approx(sum(future) / len(future))
    assert found.across() == pytest.approx(sum(past + future) / len(past + future))
    assert math.isnan(interference(flp(), one_episode(), after=0).across(seen=True))


def test_refusals_say_what_to_choose() -> None:
    made, episode = flp(), one_episode()
    for words, given in (
        ("choose from 0 to the lifetimes' 5 steps", {"after": 6}),
        ("choose from 2 to the stream's 5", {"examples": 9}),
        ("'9' is not a plastic site", {"sites": ["9"]}),
        ("exact is 6; choose from 1 to 5", {"exact": 6}),
        ("update", {"update": "adam"}),
        ("sites is empty", {"sites": []}),
        ("chunk is 0", {"chunk": 0}),
    ):
        with pytest.raises(ValueError, match=words):
            interference(made, episode, **given)
    twice = learner(dense(6, 5, 4), LearningRule(Backprop(), Delta(rate=0.1)), passes=2)
    with pytest.raises(ValueError, match="online learner"):
        interference(twice, episode)


def test_the_learner_is_left_as_it_was() -> None:
    made = flp().train()
    interference(made, one_episode())
    assert made.training
    assert all(p.grad is None for p in made.parameters())
