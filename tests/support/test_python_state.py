"""A module's Python state is the same until something in it that is no tensor changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from metaplastic.support.python_state import modules_of, python_state, unchanged


class Part(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.number, self.word, self.flag, self.table = 1000.5, "soft" + "max", True, {"a": 1}
        self.layer = nn.Linear(2, 2)


def model() -> nn.Sequential:
    shared = Part()
    return nn.Sequential(shared, nn.Sequential(shared, Part()))


def test_parts_are_those_of_modules_each_once() -> None:
    made = model()
    assert {id(part) for part in modules_of(made)} == {id(part) for part in made.modules()}
    assert len(modules_of(made)) == len(list(made.modules()))


def test_equal_numbers_and_words_are_no_change() -> None:
    made = model()
    before = python_state(modules_of(made))
    made[0].number, made[0].word = float("1000.5"), "".join(["soft", "max"])
    assert unchanged(before, python_state(modules_of(made)))


CHANGES: dict[str, Callable[[nn.Sequential], object]] = {
    "a number": lambda made: setattr(made[0], "number", 1000.25),
    "its type": lambda made: setattr(made[1][1], "flag", 1),
    "a word": lambda made: setattr(made[0], "word", "softmin"),
    "another object": lambda made: setattr(made[1][1], "table", {"a": 1}),
    "an attribute more": lambda made: setattr(made[1], "more", None),
    "a mode": lambda made: made[1].eval(),
    "a part more": lambda made: made[1].append(nn.ReLU()),
    "another part": lambda made: made[1].__setitem__(1, Part()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(change: str) -> None:
    made = model()
    before = python_state(modules_of(made))
    CHANGES[change](made)
    assert not unchanged(before, python_state(modules_of(made)))


def test_what_is_left_out_may_change() -> None:
    made = model()
    before = python_state(modules_of(made), leave=("number",))
    made[0].number = 2.0
    assert unchanged(before, python_state(modules_of(made), leave=("number",)))
