"""What a tab of the page learns, answers and measures, without the page."""

from __future__ import annotations

import pytest
import torch

from experiments.lab.play.learners import (
    CHOICES,
    HIDDEN,
    OUTPUTS,
    SHIPPED,
    TwoLayers,
    features_of,
    make_learner,
    scaled,
    shipped,
)
from experiments.lab.play.session import Session
from metaplastic import OnlineLearner
from tests.experiments.play.drawings import BENT_TENT, KNOWN, RING, TENT, taught_session


@pytest.fixture
def taught() -> Session:
    return taught_session()


def test_features_are_those_of_the_shipped_learner(generator: torch.Generator) -> None:
    images = torch.randint(0, 256, (3, 28, 28), generator=generator, dtype=torch.uint8)
    with torch.no_grad():
        expected = shipped().encode(images[:, None].float() / 255)
    torch.testing.assert_close(features_of(images), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_learner_is_itself_in_one_pass(taught: Session, name: str) -> None:
    """Step by step on the page as in one call of the learner, which never forgets a label."""
    learner: OnlineLearner = shipped(SHIPPED[name])
    labels = torch.tensor(taught.labels)[None, :, None]
    with torch.no_grad():
        fast = learner.initialize(labels, torch.tensor([0]))
        fast = learner.adapt(taught.features[None, :, None], labels, fast)
        expected = learner.predict(fast, taught.features[None])[0, :, :OUTPUTS]
    torch.testing.assert_close(taught.learners[name].logits(taught.features), expected)


def test_flp_has_the_encoder_of_the_readout_and_a_plastic_hidden_layer(taught: Session) -> None:
    ours, other = (shipped(name).encoder for name in SHIPPED.values())
    assert ours is not None
    assert other is not None
    for a, b in zip(ours.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    flp = taught.learners["flp"].tensors()
    start = make_learner("flp").tensors()
    hidden = next(iter(start))
    assert start[hidden].shape == (1, HIDDEN, 256)
    assert not torch.equal(flp[hidden], start[hidden])


def test_sgd_is_a_step_down_the_gradient_of_autograd() -> None:
    learner = make_learner("sgd")
    assert isinstance(learner, TwoLayers)
    features = features_of(torch.randint(0, 256, (1, 28, 28), dtype=torch.uint8))
    first, second = (learner.net.model[i].weight for i in (0, 2))  # type: ignore[index]
    before = [first.detach().clone().requires_grad_(), second.detach().clone().requires_grad_()]
    answer = (scaled(features) @ before[0].T).relu() @ before[1].T
    torch.nn.functional.cross_entropy(answer, torch.tensor([4])).backward()
    learner.learn(features, 4)
    assert first.shape == (HIDDEN, 256)
    for old, new in zip(before, (first, second), strict=True):
        assert old.grad is not None
        torch.testing.assert_close(new, old - CHOICES["sgd"].rate * old.grad)


def test_each_rule_is_one_of_its_own() -> None:
    features = features_of(torch.randint(0, 256, (1, 28, 28), dtype=torch.uint8))
    made = {name: make_learner(name) for name in CHOICES if name not in SHIPPED}
    changes = []
    for learner in made.values():
        before = learner.tensors()["model.0.weight"]
        learner.learn(features, 4)
        changes.append(learner.tensors()["model.0.weight"] - before)
    assert all(change.abs().max() > 0 for change in changes)  # the hidden layer is plastic
    a, b, c = (change.flatten() for change in changes)
    # The discovered rule and feedback alignment have the same random weights here.
    for one, other, most in ((a, b, 0.99), (a, c, 0.9), (b, c, 0.9)):
        assert torch.cosine_similarity(one, other, dim=0) < most


def test_three_characters_are_named_after_one_drawing_of_each(taught: Session) -> None:
    said = taught.ask(BENT_TENT)
    assert set(said) == set(CHOICES)
    assert said["readout"].names[0] == "tent"
    for answer in said.values():
        assert set(answer.names) == set(KNOWN)
        assert sum(answer.probabilities) == pytest.approx(1, abs=1e-5)
        assert list(answer.probabilities) == sorted(answer.probabilities, reverse=True)
    again = taught.ask(BENT_TENT)
    assert again == said  # asking teaches nothing


def test_disturbance_is_the_change_of_probability_before_against_after() -> None:
    """Against a second session, evaluated from outside, at a step that brings no new name."""
    session = taught_session()

    def right() -> dict[str, list[float]]:
        return {
            name: [
                float(own.logits(session.features[i : i + 1])[0, :3].softmax(-1)[i])
                for i in range(3)
            ]
            for name, own in session.learners.items()
        }

    table = {name: session.disturbance(name) for name in CHOICES}
    before = right()
    step = session.teach("ring", RING)
    after = right()
    assert step.label == 1
    for name in CHOICES:
        for label in (0, 2):
            change = after[name][label] - before[name][label]
            assert step.probability[name][label] == pytest.approx(change, abs=1e-5)
            was, now = table[name][1][label], session.disturbance(name)[1][label]
            assert now == pytest.approx((was or 0) + change, abs=1e-5)
        losses = session.disturbance(name, "loss")
        assert all(losses[1][label] is not None for label in range(3))
    assert table["sgd"][0] == [None, None, None]  # the first drawing disturbed nothing
    assert table["sgd"][2][1] is not None
    assert table["sgd"][2][1] < 0
    assert abs(table["readout"][2][1] or 0.0) < 0.01


def test_a_new_name_alone_is_no_disturbance() -> None:
    """Both sides of a difference have the new name: a learner that stays changes nothing."""
    session = Session()
    session.teach("tent", TENT)
    for learner in session.learners.values():
        learner.learn = lambda features, label: None  # type: ignore[method-assign]
    step = session.teach("ring", RING)
    changes = [value for own in step.loss.values() for value in own.values()]
    assert len(changes) == len(CHOICES)
    assert changes == pytest.approx([0.0] * len(CHOICES), abs=1e-4)  # rounding


def test_a_learner_that_cannot_take_a_step_is_named_and_the_others_learn(taught: Session) -> None:
    sgd = taught.learners["sgd"]
    state = sgd.tensors()
    state["model.2.weight"] = torch.full_like(state["model.2.weight"], 1e38)
    sgd.load(state)
    step = taught.teach("ring", RING)
    assert step.failed == ("sgd",)
    assert "SGD could not" in taught.report(step)
    assert torch.equal(sgd.tensors()["model.2.weight"], state["model.2.weight"])
    assert taught.ask(BENT_TENT)["readout"].names[0] == "tent"
