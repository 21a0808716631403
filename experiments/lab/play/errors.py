"""The error whose message is a sentence for the page."""

from __future__ import annotations


class PlayError(ValueError):
    """What was given cannot be used; the message says what it was and what to do."""
