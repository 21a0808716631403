"""Sequential feedback alignment: against its two lines, against backprop, and as it is sampled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from metaplastic import Backprop, Delta, Direct, Initialization, LearningRule
from metaplastic.pathways.sequential import RandomFeedback
from metaplastic.plasticity.polynomial import Polynomial
from metaplastic.plasticity.terms import POOL
from tests.helpers.lifetimes import convolutional, dense, episodes, learner
from tests.plasticity.test_polynomial import one_step


def test_feedback_alignment_is_its_two_lines() -> None:
    rule = LearningRule(RandomFeedback(scale=0.8), Delta(rate=0.1, per="layer"))
    made = learner(dense(3, 4, 2), rule, jitter=False)
    episode = episodes(tasks=1, steps=1, batch=2)
    initial, after = one_step(made, batch=2)
    w, c, v, d = (initial[n][0].detach() for n in ("0.weight", "0.bias", "2.weight", "2.bias"))
    x, y = episode.support_x[0, 0], torch.eye(2, dtype=torch.float64)[episode.support_y[0, 0]]
    hidden = torch.tanh(x @ w.T + c)
    error = y - (hidden @ v.T + d).softmax(-1)
    feedback = made.rule.pathway.feedback["2"].detach()
    back = (error @ feedback) * (1 - hidden**2)
    rate = float(np.float32(0.1)) / 2
    torch.testing.assert_close(after["2.weight"][0], v + rate * error.T @ hidden)
    torch.testing.assert_close(after["0.weight"][0], w + rate * back.T @ x)


@pytest.mark.parametrize("network", [lambda: dense(3, 4, 4, 2), convolutional])
def test_with_feedback_of_the_forward_weights_it_is_backprop(network: Any) -> None:
    shape = (1, 5, 5) if isinstance(network()[0], nn.Conv2d) else (3,)
    episode = episodes(tasks=1, steps=1, shape=shape)
    changes = []
    for feedback in (Backprop(), RandomFeedback()):
        torch.manual_seed(3)
        rule = LearningRule(feedback, Polynomial(first=dict.fromkeys(POOL, 0.01)))
        made = learner(network(), rule)
        if isinstance(feedback, RandomFeedback):
            for site in made.sites:
                feedback.feedback[site.key].data = site.module.weight.data.clone()
        with torch.no_grad():
            initial = made.initialize(episode.support_y, episode.seed)
            changes.append(made.adapt(episode.support_x, episode.support_y, initial))
    for name in changes[0]:
        torch.testing.assert_close(changes[0][name], changes[1][name], rtol=1e-10, atol=1e-12)


def test_the_presynaptic_signal_is_that_of_the_layer_below() -> None:
    rule = LearningRule(RandomFeedback(), Polynomial())
    made = learner(dense(3, 4, 5, 2, phi=nn.Softplus), rule)
    episode = episodes(tasks=2, steps=1)
    weights = made.initialize(episode.support_y, episode.seed)
    tape = made.stack.run(episode.support_x[:, 0], weights)
    given = {"target": episode.support_y[:, 0]}
    stack, sites, feedback = made.stack, made.sites, made.rule.pathway
    signals = feedback.signals(stack, tape, weights, sites, made.objective, given)
    received = feedback.presynaptic(stack, tape, weights, sites, signals)
    torch.testing.assert_close(received["2"], signals["0"])
    torch.testing.assert_close(received["4"], signals["2"])
    first = signals["0"] @ feedback.feedback["0"] * (1 - torch.exp(-10 * tape.pre["0"].abs()))
    torch.testing.assert_close(received["0"], first)


def test_feedback_that_is_redrawn_differs_between_lifetimes_and_not_between_calls() -> None:
    made = learner(
        dense(3, 4, 2), LearningRule(RandomFeedback(weights="redrawn"), Polynomial()),
        initialization=Initialization("redrawn", "redrawn"),
    )  # fmt: skip
    episode = episodes(tasks=2)
    one, other = (made.initialize(episode.support_y, episode.seed) for _ in range(2))
    feedback = one["feedback of 2"]
    assert feedback.equal(other["feedback of 2"])
    assert not feedback[0].equal(feedback[1])
    after = made.adapt(episode.support_x, episode.support_y, one)
    assert after["feedback of 2"].equal(feedback)
    assert not one["0.weight"][0].equal(one["feedback of 0"][0])


def test_a_pathway_that_says_nothing_to_presynaptic_units_is_refused() -> None:
    made = learner(dense(3, 4, 2), LearningRule(Direct(), Polynomial()))
    with pytest.raises(ValueError, match="A Direct delivers nothing to the presynaptic side"):
        made(episodes())


def test_feedback_of_no_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scale is 0\.0"):
        RandomFeedback(scale=0.0)
