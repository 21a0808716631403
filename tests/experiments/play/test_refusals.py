"""A tab of the page with what it cannot use, with many at once, and with names that are code."""

from __future__ import annotations

import threading

import pytest

from experiments.lab.play import panels
from experiments.lab.play.errors import PlayError
from experiments.lab.play.learners import CHOICES, OUTPUTS
from experiments.lab.play.session import Session, clean
from experiments.lab.play.tabs import Tabs
from tests.experiments.play.drawings import BENT_TENT, RING, TENT, taught_session

KNOWN = ("tent", "ring", "cross")


@pytest.fixture
def taught() -> Session:
    return taught_session()


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
    assert taught.names == list(KNOWN)
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
    """At best: other work on the machine only makes it slower."""
    learning = answering = float("inf")
    for _ in range(100):
        taught.teach("ring", RING)
        taught.ask(TENT)
        learning = min(learning, sum(taught.times.learning.values()))
        answering = min(answering, sum(taught.times.answering.values()))
        if max(learning, answering) < 50:
            break
    assert max(learning, answering) < 50


def test_many_at_once_are_learned_one_after_another() -> None:
    session, errors = Session(), []

    def work(name: str) -> None:
        try:
            for _ in range(3):
                session.teach(name, RING)
                session.ask(TENT)
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
