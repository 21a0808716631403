"""Options that are one of a few words: a misspelled one is refused, not taken for another."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, get_args


def check_choice(option: str, given: object, choices: Any) -> None:
    """Raise ValueError unless `given` is one of the words of the Literal type `choices`."""
    words = list(_words(choices))
    if given not in words:
        raise ValueError(
            f"{option} is {given!r}; it must be one of {', '.join(map(repr, words))}."
            f"{did_you_mean(given, words)}"
        )


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """The question with the nearest of the `known` words, after a space; nothing if none is near.

    Raises nothing and decides nothing: it ends the sentence of whoever refuses what was given.
    """
    close = get_close_matches(str(given), list(dict.fromkeys(known)), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _words(choices: Any) -> Iterable[str]:
    """Those of a Literal, or of a union of several."""
    if isinstance(choices, str):
        yield choices
    for part in get_args(choices):
        yield from _words(part)
