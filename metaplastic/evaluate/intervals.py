"""95% intervals of a mean over lifetimes, by the normal approximation or by the bootstrap.

Written out because scipy is no dependency of the library; tests compare with scipy where it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from metaplastic.support.choices import check_choice

Array: TypeAlias = NDArray[np.float64]
Kind: TypeAlias = Literal["normal", "bootstrap"]

NORMAL_95 = 1.959963984540054  # the 97.5% point of the standard normal distribution
RESAMPLES = 2000
COLUMNS = 1000  # means whose resamples are held at once


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its 95% interval; arrays of one shape, or numbers."""

    mean: Any
    low: Any
    high: Any
    kind: Kind
    count: int  # independent values behind it; of several means, behind the one with the fewest

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able values."""
        ends = {name: np.asarray(getattr(self, name)).tolist() for name in ("mean", "low", "high")}
        return {**ends, "kind": self.kind, "count": self.count}

    def __str__(self) -> str:
        if np.ndim(self.mean):
            return f"{np.size(self.mean)} means of {self.count} values, {self.kind} 95% intervals"
        return (
            f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}] ({self.kind} 95%, n={self.count})"
        )


def interval(values: Array, kind: Kind = "normal", seed: int = 0) -> Interval:
    """The mean over the first axis (independent lifetimes), with its 95% interval.

    Values that are NaN are left out of their column; a column of nothing else is ignored in
    `count`. The normal interval is the mean plus and minus 1.96 standard errors (n - 1 in the
    variance): too narrow by an eighth at 10 values. The bootstrap resamples entire lifetimes
    and takes percentiles. The ends are NaN for a single value and for an infinite mean.

    Raises:
        ValueError: for no values at all.
    """
    values = np.asarray(values, dtype=np.float64)
    if not values.ndim or not len(values):
        raise ValueError(f"Values have shape {values.shape}; a mean needs at least one lifetime.")
    check_choice("kind", kind, Kind)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = _mean(values)
        ends = _normal(values, mean) if kind == "normal" else _bootstrap(values, seed)
        number = np.asarray((~np.isnan(values)).sum(0))
        known = np.isfinite(mean) & (number > 1)
        low, high = (np.where(known, end, np.nan) for end in ends)
    return Interval(mean, low, high, kind, int(min(number[number > 0], default=0)))


def _normal(values: Array, mean: Array) -> tuple[Array, Array]:
    count = (~np.isnan(values)).sum(0)
    squares = np.nansum((values - mean) ** 2, axis=0)
    half = NORMAL_95 * np.sqrt(squares / (count - 1) / count)
    return mean - half, mean + half


def _bootstrap(values: Array, seed: int) -> tuple[Array, Array]:
    source = np.random.default_rng(seed)
    indices = source.integers(len(values), size=(RESAMPLES, len(values)))
    weights = np.stack([np.bincount(i, minlength=len(values)) for i in indices]).astype(float)
    columns = values.reshape(len(values), -1)
    found = np.empty((2, columns.shape[1]))
    # A long lifetime's matrix has many columns: a few at a time, or all resamples are held at once.
    for first in range(0, columns.shape[1], COLUMNS):
        part = columns[:, first : first + COLUMNS]
        # An infinite mean has no interval; as 0 it leaves the other columns finite.
        total = weights @ np.where(np.isfinite(part), part, 0.0)
        means = total / _or_nan(weights @ ~np.isnan(part))
        found[:, first : first + COLUMNS] = _percentiles(means)
    low, high = found.reshape(2, *values.shape[1:])
    return low, high


def _percentiles(means: Array) -> Array:
    """The 2.5th and the 97.5th of each column, of the resamples with a value that is not NaN."""
    ends = np.array([0.025, 0.975])
    known = (~np.isnan(means)).sum(0)  # the others are sorted last
    places = np.rint(ends[:, None] * np.maximum(known - 1, 0)).astype(int)
    return np.take_along_axis(np.sort(means, axis=0), places, 0)


def _mean(values: Array) -> Array:
    return np.asarray(np.nansum(values, axis=0) / _or_nan((~np.isnan(values)).sum(0)))


def _or_nan(count: NDArray[np.int64] | Array) -> Array:
    return np.where(count > 0, count, np.nan)


def jsonable(value: Any) -> Any:
    """Nested dicts and lists with the floats that JSON lacks: NaN as None, infinity as "inf"."""
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and value != value:
        return None
    return str(value) if isinstance(value, float) and np.isinf(value) else value
