"""Direct random feedback: against its two lines, against the credit rule, as sampled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from metaplastic import Delta, Initialization, LearningRule, RandomDirect, RandomFeedback, credit
from metaplastic.pathways.base import FeedbackPathway
from metaplastic.plasticity.polynomial import Polynomial
from tests.helpers.lifetimes import convolutional, dense, episodes, learner
from tests.plasticity.test_polynomial import one_step


def test_direct_feedback_alignment_is_its_two_lines() -> None:
    made = learner(dense(3, 4, 2), LearningRule(RandomDirect(), Delta(rate=0.1, per="layer")))
    episode = episodes(tasks=1, steps=1, batch=2)
    initial, after = one_step(made, batch=2)
    w, c, v, d = (initial[n][0].detach() for n in ("0.weight", "0.bias", "2.weight", "2.bias"))
    x, y = episode.support_x[0, 0], torch.eye(2, dtype=torch.float64)[episode.support_y[0, 0]]
    hidden = torch.tanh(x @ w.T + c)
    error = y - (hidden @ v.T + d).softmax(-1)
    back = (error @ made.rule.pathway.feedback["2"].detach()) * (1 - hidden**2)
    rate = made.rule.plasticity.rates["2"].item() / 2
    torch.testing.assert_close(after["2.weight"][0], v + rate * error.T @ hidden)
    rate = made.rule.plasticity.rates["0"].item() / 2
    torch.testing.assert_close(after["0.weight"][0], w + rate * back.T @ x)


def test_its_signals_are_the_gradients_of_the_credit_rule_with_the_same_matrices() -> None:
    feedback = RandomDirect()
    made = learner(dense(3, 5, 4, 2), LearningRule(feedback, Delta(rate=1.0, per="shared")))
    made.rule.plasticity.rates["shared"].data.fill_(1.0)
    episode, model = episodes(tasks=1, steps=1, batch=4), made.stack.layers
    initial, after = one_step(made, batch=4)
    network = nn.Sequential(*model)
    x, y = episode.support_x[0, 0], episode.support_y[0, 0]
    given = credit("dfa", network, example=x)
    for key, sampled in feedback.feedback.items():
        given.feedback(key).copy_(sampled.detach())
    given.backward(network, x, y, nn.functional.cross_entropy)
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(after[name][0] - initial[name][0], -parameter.grad)


@pytest.mark.parametrize(
    ("feedback", "network"),
    [
        (RandomDirect(level=True), lambda: dense(3, 5, 4, 2)),
        (RandomFeedback(level=True), lambda: dense(3, 5, 4, 2)),
        (RandomFeedback(level=True), convolutional),
    ],
)
def test_leveled_signals_have_the_length_of_the_error_and_their_own_direction(
    feedback: FeedbackPathway, network: Any
) -> None:
    shape = (1, 5, 5) if isinstance(network()[0], nn.Conv2d) else (3,)
    made = learner(network(), LearningRule(feedback, Polynomial()))
    episode = episodes(tasks=2, steps=1, shape=shape)
    weights = made.initialize(episode.support_y, episode.seed)
    tape = made.stack.run(episode.support_x[:, 0], weights)
    given = {"target": episode.support_y[:, 0]}
    place = (made.stack, tape, weights, made.sites, made.objective, given)
    found = feedback.signals(*place)
    feedback.level = False  # type: ignore[assignment]
    plain = feedback.signals(*place)
    feedback.level = True  # type: ignore[assignment]
    error = made.objective.negative_gradient(tape.output, given["target"]).detach().numpy()
    for task in range(2):
        wanted = np.sqrt(np.mean(np.sum(error[task] ** 2, -1)))
        for name in found:
            rows, was = (one[name][task].detach().numpy() for one in (found, plain))
            assert np.sqrt(np.mean(np.sum(rows**2, -1))) == pytest.approx(wanted, rel=1e-6)
            np.testing.assert_allclose(
                rows / np.linalg.norm(rows), was / np.linalg.norm(was), atol=1e-7
            )


def test_the_presynaptic_signal_is_what_was_sent() -> None:
    feedback = RandomDirect()
    made = learner(dense(3, 4, 5, 2, phi=nn.Softplus), LearningRule(feedback, Polynomial()))
    episode = episodes(tasks=2, steps=1)
    weights = made.initialize(episode.support_y, episode.seed)
    tape = made.stack.run(episode.support_x[:, 0], weights)
    given, stack, sites = {"target": episode.support_y[:, 0]}, made.stack, made.sites
    signals = feedback.signals(stack, tape, weights, sites, made.objective, given)
    received = feedback.presynaptic(stack, tape, weights, sites, signals)
    torch.testing.assert_close(received["2"], signals["0"])
    torch.testing.assert_close(received["4"], signals["2"])
    error = made.objective.negative_gradient(tape.output, given["target"])
    first = error @ feedback.feedback["0"] * (1 - torch.exp(-10 * tape.pre["0"].abs()))
    torch.testing.assert_close(received["0"], first)


def test_feedback_is_within_its_bound_and_sampled_for_each_lifetime_by_its_seed() -> None:
    made = learner(
        dense(9, 4, 2), LearningRule(RandomDirect(scale=0.6, weights="redrawn"), Polynomial()),
        initialization=Initialization("redrawn", "redrawn"),
    )  # fmt: skip
    episode = episodes(tasks=2, shape=(9,))
    one, other = (made.initialize(episode.support_y, episode.seed) for _ in range(2))
    sampled = one["feedback of 0"]
    assert sampled.shape == (2, 2, 9)
    assert sampled.abs().max() <= 0.2
    assert sampled.std() == pytest.approx(0.2 / 3**0.5, rel=0.25)
    assert sampled.equal(other["feedback of 0"])
    assert not sampled[0].equal(sampled[1])
    after = made.adapt(episode.support_x, episode.support_y, one)
    assert after["feedback of 0"].equal(sampled)


def test_what_it_cannot_serve_gets_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"scale is 0\.0"):
        RandomDirect(scale=0.0)
    with pytest.raises(ValueError, match=r"Give the learner input_shape="):
        learner(convolutional(), LearningRule(RandomDirect(), Polynomial()))
    followed = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    made = learner(followed, LearningRule(RandomDirect(), Polynomial()))
    with pytest.raises(ValueError, match="A Tanh follows the readout '0'"):
        made(episodes())
