"""Checks of a command line's words that a parser would accept: empty ones, and foreign digits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_type_hints

from experiments.lab.settings.registry import ConfigError


def require_words(config: type[Any], argv: Sequence[str]) -> None:
    """Raise ConfigError for an empty value, an empty item of a list, or digits of another script.

    Python reads a number in the digits of any script, which a reader of the record may not.
    """
    hints = get_type_hints(config)
    for flag, word in values(argv):
        kinds = set(_kinds(hints.get(flag.lstrip("-").replace("-", "_"))))
        if not word.strip():
            raise ConfigError(f"{flag or 'an argument'} is empty: write a value, or omit it.")
        if kinds & {int, float} and not word.isascii():
            raise ConfigError(f"{flag} is {word!r}: write numbers in the digits 0 to 9.")
        if tuple in kinds and not all(item.strip() for item in word.split(",")):
            raise ConfigError(
                f"{flag} got {word!r}, where an item is empty: write what is missing, or omit the "
                "comma."
            )


def values(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Every value on a command line, beside its flag; an argument without one beside ""."""
    flag = ""
    for word in argv:
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            yield flag, word
        elif equals:
            flag = name
            yield flag, value
        else:
            flag = name


def _kinds(hint: Any) -> Iterator[Any]:
    """The types in a hint: of `tuple[int, ...] | None` those are tuple, int and None."""
    origin = getattr(hint, "__origin__", hint)
    yield origin
    for argument in get_args(hint):
        if argument is not Ellipsis and not isinstance(argument, str):
            yield from _kinds(argument)
