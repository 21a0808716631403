"""Checks of options with a fixed set of values."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, get_args


def check_choice(option: str, given: object, choices: Any) -> None:
    """Raise ValueError unless `given` is one of the values of the Literal type `choices`."""
    words = list(_words(choices))
    if given not in words:
        raise ValueError(
            f"{option} is {given!r}; it must be one of {', '.join(map(repr, words))}."
            f"{did_you_mean(given, words)}"
        )


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """A suffix for error messages: the closest of the `known` words, or nothing."""
    close = get_close_matches(str(given), list(dict.fromkeys(known)), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _words(choices: Any) -> Iterable[str]:
    """The values of a Literal, or of a union of Literals."""
    if isinstance(choices, str):
        yield choices
    for part in get_args(choices):
        yield from _words(part)
