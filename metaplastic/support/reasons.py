"""The reason of an exception in a part of a sentence."""

from __future__ import annotations

LONGEST = 200  # letters; messages of compilers go on for pages


def in_short(reason: Exception) -> str:
    """The first line of an exception's message, or its kind where it has none."""
    lines = str(reason).strip().splitlines() or [type(reason).__name__]
    return lines[0][:LONGEST]
