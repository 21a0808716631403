"""Options that are one of a few words: a misspelled one is refused, not taken for another."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, get_args


def check_choice(option: str, given: object, choices: Any) -> None:
    """Raise ValueError unless `given` is one of the words of the Literal type `choices`."""
    words = [
        word for part in (choices, *get_args(choices)) for word in get_args(part) or [part]
        if isinstance(word, str)
    ]  # fmt: skip
    if given in words:
        return
    close = get_close_matches(str(given), words, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        f"{option} is {given!r}; it must be one of {', '.join(map(repr, words))}.{hint}"
    )
