"""Continual-learning measures of a performance matrix: averages, forgetting, transfer.

Pure numpy, one number (or row) per lifetime. `values` are `lifetimes snapshots subtasks`, the
higher the better: errors are passed with a minus sign. NaN marks what was not evaluated and is left
out. `seen`, of the same shape, says which subtasks had occurred in the stream by each snapshot.
A measure is NaN where it averages over nothing. A difference with a diverged (infinite) side counts
as the worst possible value, so that a diverged lifetime is never dropped from a mean.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from metaplastic.evaluate.intervals import Array

Mask: TypeAlias = NDArray[np.bool_]


def mean_where(values: Array, mask: Mask) -> Array:
    """Mean over the last axis of the masked values that are not NaN; NaN if there are none."""
    valid = mask & ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Array = np.where(valid, values, 0.0).sum(-1) / valid.sum(-1)
    return mean


def average_over_time(values: Array, seen: Mask) -> Array:
    """Mean over snapshots of the mean over the subtasks seen by then: `lifetimes`.

    Of accuracies, the average incremental accuracy of Rebuffi et al. (2017, iCaRL).
    """
    over_seen = mean_where(values, seen)
    return mean_where(over_seen, np.ones_like(over_seen, dtype=bool))


def forgetting_since_first(values: Array, seen: Mask) -> Array:
    """Value at the first snapshot after a subtask was seen minus that at the last: `lifetimes`.

    Mean over the subtasks seen before the last snapshot.
    """
    loss = _difference(_when_first_seen(values, seen), values[:, -1], np.inf)
    return mean_where(loss, _seen_before(seen))


def forgetting_since_best(values: Array, seen: Mask) -> Array:
    """Value at a subtask's best snapshot, before the last one, minus that at the last: `lifetimes`.

    Chaudhry et al. (2018, Riemannian Walk, ECCV), but for one thing: only snapshots that saw the
    subtask can be its best. Mean over the subtasks seen before the last snapshot.
    """
    valid = (seen & ~np.isnan(values))[:, :-1]
    best = np.where(valid, values[:, :-1], -np.inf).max(1, initial=-np.inf)
    best = np.where(valid.any(1), best, np.nan)
    return mean_where(_difference(best, values[:, -1], np.inf), _seen_before(seen))


def backward_transfer(values: Array, seen: Mask) -> Array:
    """Value at the last snapshot minus that at the first that saw the subtask: `lifetimes`.

    Lopez-Paz & Ranzato (2017, GEM). Mean over the subtasks seen before the last snapshot.
    """
    gain = _difference(values[:, -1], _when_first_seen(values, seen), -np.inf)
    return mean_where(gain, _seen_before(seen))


def forward_transfer(values: Array, initial: Array, seen: Mask) -> Array:
    """Value at the snapshot before a subtask is first seen minus the initial value: `lifetimes`.

    Lopez-Paz & Ranzato (2017, GEM). Mean over the subtasks seen after the first snapshot; one that
    is never seen has no snapshot before it.

    Args:
        initial: `lifetimes subtasks`.
    """
    before = np.maximum(seen.argmax(1) - 1, 0)[:, None]
    then = np.take_along_axis(values, before, 1)[:, 0]
    gain = _difference(then, initial, -np.inf)
    return mean_where(gain, seen[:, -1] & ~seen[:, 0])


def _when_first_seen(values: Array, seen: Mask) -> Array:
    return np.take_along_axis(values, seen.argmax(1)[:, None], 1)[:, 0]  # lifetimes subtasks


def _seen_before(seen: Mask) -> Mask:
    """Seen before the last snapshot: nothing, if there is a single snapshot."""
    return np.asarray(seen[:, :-1].any(1))


def _difference(this: Array, that: Array, worst: float) -> Array:
    with np.errstate(invalid="ignore"):  # infinite on both sides
        return np.where(np.isinf(this) | np.isinf(that), worst, this - that)
