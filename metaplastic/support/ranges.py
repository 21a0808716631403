"""Range checks of numeric options."""

from __future__ import annotations

import math
from numbers import Integral, Real


def check_number(
    option: str, given: object, *, least: int = 0, above: bool = False, integer: bool = False
) -> None:
    """Raise ValueError unless `given` is a finite number from `least` on, or only `above` it."""
    kind = Integral if integer else Real
    fits = isinstance(given, kind) and not isinstance(given, bool) and math.isfinite(given)
    if not fits or given < least or (above and given == least):  # type: ignore[operator]
        what = "a whole number" if integer else "a finite number"
        raise ValueError(
            f"{option} is {given!r}; it must be {what} {'above' if above else 'of at least'} "
            f"{least}."
        )
