"""What a tab of the page learns, answers and measures, without the page."""

from __future__ import annotations

import threading

import pytest
import torch

from experiments.lab.play import panels
from experiments.lab.play.errors import PlayError
from experiments.lab.play.learners import (
    CHOICES,
    HIDDEN,
    OUTPUTS,
    TwoLayers,
    features_of,
    make_learner,
    scaled,
    shipped,
)
from experiments.lab.play.session import Session, clean
from experiments.lab.play.tabs import Tabs
from metaplastic import OnlineLearner
from tests.experiments.play.drawings import BENT_TENT, CROSS, RING, TENT

KNOWN = {"tent": TENT, "ring": RING, "cross": CROSS}


@pytest.fixture
def taught() -> Session:
    session = Session()
    for name, drawing in KNOWN.items():
        session.teach(name, drawing)
    return session


def test_features_are_those_of_the_shipped_learner(generator: torch.Generator) -> None:
    images = torch.randint(0, 256, (3, 28, 28), generator=generator, dtype=torch.uint8)
    with torch.no_grad():
        expected = shipped().encode(images[:, None].float() / 255)
    torch.testing.assert_close(features_of(images), expected, atol=1e-6, rtol=1e-5)


def test_the_readout_is_the_shipped_learner_in_one_pass(taught: Session) -> None:
    """Step by step on the page as in one call of the learner, which never forgets a label."""
    learner: OnlineLearner = shipped()
    labels = torch.tensor(taught.labels)[None, :, None]
    with torch.no_grad():
        fast = learner.initialize(labels, torch.tensor([0]))
        fast = learner.adapt(taught.features[None, :, None], labels, fast)
        expected = learner.predict(fast, taught.features[None])[0, :, :OUTPUTS]
    torch.testing.assert_close(taught.learners["readout"].logits(taught.features), expected)


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
    made = {name: make_learner(name) for name in CHOICES if name != "readout"}
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
    session = Session()
    for name, drawing in KNOWN.items():
        session.teach(name, drawing)

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


@pytest.mark.parametrize(
    ("name", "drawing", "said"),
    [
        ("", TENT, "no name yet"),
        ("  \n", TENT, "no name yet"),
        (None, TENT, "no name yet"),
        ("x" * 25, TENT, "too long"),
        ("x", "", "no drawing yet"),
    ],
)
def test_what_cannot_be_taught_changes_nothing(
    taught: Session, name: object, drawing: object, said: str
) -> None:
    with pytest.raises(PlayError, match=said):
        taught.teach(name, drawing)
    assert list(KNOWN) == taught.names
    assert (
        len(taught.labels) == len(taught.steps) == len(taught.images) == len(taught.features) == 3
    )


def test_nothing_is_said_before_anything_was_learned() -> None:
    with pytest.raises(PlayError, match="Nothing has been learned yet"):
        Session().ask(TENT)


def test_there_are_as_many_names_as_outputs(taught: Session) -> None:
    for number in range(OUTPUTS - 3):
        taught.teach(f"{number}", RING)
    with pytest.raises(PlayError, match=f"{OUTPUTS} characters are learned"):
        taught.teach("another", RING)
    taught.teach("tent", BENT_TENT)
    assert len(taught.names) == OUTPUTS


def test_a_name_is_one_line() -> None:
    assert clean(" a\n b\x00 ") == "a b"
    assert clean("é") == "é"


def test_names_cannot_write_into_the_page(taught: Session) -> None:
    taught.teach("<b onclick=1>", RING)
    taught.ask(RING)
    shown = panels.answers(taught.said, CHOICES) + panels.gallery(taught)
    shown += panels.disturbance(taught, CHOICES) + panels.message(taught.names[-1])
    assert "<b onclick" not in shown
    assert shown.count("&lt;b onclick=1&gt;") > 5


def test_times_of_learning_and_answering_are_told(taught: Session) -> None:
    taught.ask(RING)
    text = panels.times(taught)
    assert "Learned in" in text
    assert "Answered in" in text
    assert {choice.title for choice in CHOICES.values()} < set(taught.times.learning)


def test_learning_and_answering_take_less_than_50_ms(taught: Session) -> None:
    """The fastest of ten: other work on the machine only makes it slower."""
    learning, answering = [], []
    for _ in range(10):
        taught.teach("ring", RING)
        taught.ask(TENT)
        learning.append(sum(taught.times.learning.values()))
        answering.append(sum(taught.times.answering.values()))
    assert min(learning) < 50
    assert min(answering) < 50


def test_many_at_once_are_learned_one_after_another() -> None:
    session, errors = Session(), []

    def work(name: str) -> None:
        try:
            for _ in range(3):
                session.teach(name, KNOWN[name])
                session.ask(KNOWN[name])
        except Exception as error:  # a thread's own would be lost
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in KNOWN for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(session.labels) == len(session.steps) == 18


def test_tabs_have_a_session_each_and_the_oldest_is_dropped() -> None:
    tabs = Tabs(most=2)
    one, other = tabs.of("one"), tabs.of("other")
    one.teach("tent", TENT)
    assert tabs.of("one") is one
    assert not other.names
    tabs.of("third")
    assert list(tabs.sessions) == ["one", "third"]
    tabs.close("one")
    tabs.close("one")
    assert not tabs.of("one").names
