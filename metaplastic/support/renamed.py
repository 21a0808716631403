"""Names that have changed: the old ones work for one release, and say the new ones."""

from __future__ import annotations

import warnings
from typing import TypeVar

Value = TypeVar("Value")


def warn_renamed(old: str, new: str, *, stacklevel: int = 3) -> None:
    """Warn whoever called the function that asks."""
    warnings.warn(
        f"{old} is now {new}; the old name goes with the next release.",
        DeprecationWarning,
        stacklevel=stacklevel,
    )


def renamed(old: str, given: Value | None, new: str, value: Value | None) -> Value | None:
    """The value of an option that may still come by its old name."""
    if given is None:
        return value
    warn_renamed(f"{old}=", f"{new}=", stacklevel=4)
    return given if value is None else value
