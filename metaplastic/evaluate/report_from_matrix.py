"""A report of a matrix that was measured elsewhere: another library, a paper, a notebook."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metaplastic.evaluate.intervals import Kind
from metaplastic.evaluate.report import ContinualReport, Measure
from metaplastic.support.choices import check_choice


def report_of(
    values: ArrayLike,
    *,
    of: Measure = "accuracy",
    seen: ArrayLike | None = None,
    at_birth: ArrayLike | None = None,
    examples: ArrayLike | None = None,
    intervals: Kind = "normal",
) -> ContinualReport:
    """The report of a matrix of accuracies or errors, with all measures that follow from it.

    Args:
        values: `snapshots subtasks`, or `lifetimes snapshots subtasks`; NaN where it was not asked.
        of: what they are. The errors of a report of accuracies are 1 - accuracy.
        seen: which subtasks the stream had brought by each snapshot, of the shape of `values` or
            without lifetimes. By default subtask j arrives before snapshot j, one by one.
        at_birth: `subtasks` or `lifetimes subtasks`, before the first example. Only forward
            transfer needs it, and is NaN without.
        examples: `snapshots`, how many were learned by each; by default their number.

    Raises:
        ValueError: for shapes that do not fit together, or accuracies outside 0 to 1.
    """
    check_choice("of", of, Measure)
    matrix = np.array(values, dtype=float)
    if matrix.ndim == 2:
        matrix = matrix[None]
    if matrix.ndim != 3:
        raise ValueError(
            f"The matrix has shape {matrix.shape}; it needs axes snapshots, subtasks, or "
            "lifetimes, snapshots, subtasks."
        )
    lifetimes, snapshots, subtasks = matrix.shape
    if of == "accuracy" and (np.nanmin(matrix) < 0 or np.nanmax(matrix) > 1):
        raise ValueError(
            f"Accuracies go from {np.nanmin(matrix):g} to {np.nanmax(matrix):g}; give shares from "
            "0 to 1, or of='error'."
        )
    if seen is None:
        if snapshots != subtasks:
            raise ValueError(
                f"There are {snapshots} snapshots of {subtasks} subtasks; give seen, which says "
                "which of them the stream had brought by each snapshot."
            )
        seen = np.tri(snapshots, dtype=bool)
    met = np.array(seen, dtype=bool)
    if met.ndim == 2:
        met = np.repeat(met[None], lifetimes, 0)
    born = np.full((lifetimes, subtasks), np.nan)
    if at_birth is not None:
        before = np.array(at_birth, dtype=float)
        born = np.repeat(before[None], lifetimes, 0) if before.ndim == 1 else before
    right = of == "accuracy"
    return ContinualReport(
        error=1 - matrix if right else matrix,
        error_at_birth=1 - born if right else born,
        accuracy=matrix if right else None,
        accuracy_at_birth=born if right else None,
        seen=met,
        examples=np.arange(1, snapshots + 1) if examples is None else np.array(examples),
        seed=0,
        intervals=intervals,
    )
