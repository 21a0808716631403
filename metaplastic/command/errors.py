"""The error of the command line whose message is a sentence."""

from __future__ import annotations


class CommandError(ValueError):
    """A command line cannot be followed; the message says what was given and what to give."""
