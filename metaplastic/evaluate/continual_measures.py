"""What is read off the matrix of a lifetime: averages, forgetting, and transfer both ways.

Pure numpy, one number (or row) a lifetime. `values` are `lifetimes snapshots subtasks` and the
higher the better: an error comes with a minus sign. What is NaN was not asked and is left out.
`seen`, of the same shape, says which subtasks the stream had brought by then; once seen is seen.
A measure is NaN where it has nothing to be a mean of. A difference of which one side has diverged
counts as the worst there can be: one lifetime that lost everything is not left out, unseen.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from metaplastic.evaluate.intervals import Array

Mask: TypeAlias = NDArray[np.bool_]


def mean_where(values: Array, mask: Mask) -> Array:
    """Mean over the last axis of what is masked and not NaN; NaN where there is nothing."""
    counted = mask & ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Array = np.where(counted, values, 0.0).sum(-1) / counted.sum(-1)
    return mean


def average_over_time(values: Array, seen: Mask) -> Array:
    """Mean over snapshots of the mean over what was seen by then: `lifetimes`.

    Of accuracies, the average incremental accuracy of Rebuffi et al. (2017, iCaRL).
    """
    over_seen = mean_where(values, seen)
    return mean_where(over_seen, np.ones_like(over_seen, dtype=bool))


def forgetting_since_first(values: Array, seen: Mask) -> Array:
    """Value at the first snapshot that saw a subtask minus that at the last: `lifetimes`.

    Mean over the subtasks met before the last snapshot.
    """
    lost = _difference(_when_learned(values, seen), values[:, -1], np.inf)
    return mean_where(lost, _met_before(seen))


def forgetting_since_best(values: Array, seen: Mask) -> Array:
    """Value at a subtask's best snapshot, before the last one, minus that at the last: `lifetimes`.

    Chaudhry et al. (2018, Riemannian Walk, ECCV), but for one thing: only snapshots that saw the
    subtask can be its best. Mean over the subtasks met before the last snapshot.
    """
    known = (seen & ~np.isnan(values))[:, :-1]
    best = np.where(known, values[:, :-1], -np.inf).max(1, initial=-np.inf)
    best = np.where(known.any(1), best, np.nan)
    return mean_where(_difference(best, values[:, -1], np.inf), _met_before(seen))


def backward_transfer(values: Array, seen: Mask) -> Array:
    """Value at the last snapshot minus that at the first that saw the subtask: `lifetimes`.

    Lopez-Paz & Ranzato (2017, GEM). Mean over the subtasks met before the last snapshot.
    """
    gained = _difference(values[:, -1], _when_learned(values, seen), -np.inf)
    return mean_where(gained, _met_before(seen))


def forward_transfer(values: Array, at_birth: Array, seen: Mask) -> Array:
    """Value at the snapshot before the first that saw a subtask minus that at birth: `lifetimes`.

    Lopez-Paz & Ranzato (2017, GEM). Mean over the subtasks met after the first snapshot; one that
    is never met has no moment before it.

    Args:
        at_birth: `lifetimes subtasks`.
    """
    before = np.maximum(seen.argmax(1) - 1, 0)[:, None]
    then = np.take_along_axis(values, before, 1)[:, 0]
    gained = _difference(then, at_birth, -np.inf)
    return mean_where(gained, seen[:, -1] & ~seen[:, 0])


def _when_learned(values: Array, seen: Mask) -> Array:
    return np.take_along_axis(values, seen.argmax(1)[:, None], 1)[:, 0]  # lifetimes subtasks


def _met_before(seen: Mask) -> Mask:
    """Met before the last snapshot: of a single snapshot, nothing."""
    return np.asarray(seen[:, :-1].any(1))


def _difference(this: Array, that: Array, worst: float) -> Array:
    with np.errstate(invalid="ignore"):  # infinite both times
        return np.where(np.isinf(this) | np.isinf(that), worst, this - that)
