"""A continual-learning report of a matrix measured elsewhere: another library, a paper."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metaplastic.evaluate.intervals import Kind
from metaplastic.evaluate.report import ContinualReport, Measure
from metaplastic.support.choices import check_choice
from metaplastic.support.renamed import renamed_arguments


@renamed_arguments(at_birth="initial")
def report_from_matrix(
    values: ArrayLike,
    *,
    of: Measure = "accuracy",
    seen: ArrayLike | None = None,
    initial: ArrayLike | None = None,
    examples: ArrayLike | None = None,
    intervals: Kind = "normal",
) -> ContinualReport:
    """The report of a matrix of accuracies or errors, with all measures that follow from it.

    Args:
        values: `snapshots subtasks`, or `lifetimes snapshots subtasks`; NaN where not evaluated.
        of: the measure in `values`. The errors of a report of accuracies are 1 - accuracy.
        seen: which subtasks had occurred by each snapshot, of the shape of `values` or without
            lifetimes. By default subtask j occurs just before snapshot j.
        initial: `subtasks` or `lifetimes subtasks`, before the first example. Only forward
            transfer needs it, and is NaN without.
        examples: `snapshots`, the number of examples seen by each; by default 1, 2, ...

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
                "which of them had occurred in the stream by each snapshot."
            )
        seen = np.tri(snapshots, dtype=bool)
    occurred = np.array(seen, dtype=bool)
    if occurred.ndim == 2:
        occurred = np.repeat(occurred[None], lifetimes, 0)
    before = np.full((lifetimes, subtasks), np.nan)
    if initial is not None:
        before = np.array(initial, dtype=float)
        before = np.repeat(before[None], lifetimes, 0) if before.ndim == 1 else before
    is_accuracy = of == "accuracy"
    return ContinualReport(
        error=1 - matrix if is_accuracy else matrix,
        initial_error=1 - before if is_accuracy else before,
        accuracy=matrix if is_accuracy else None,
        initial_accuracy=before if is_accuracy else None,
        seen=occurred,
        examples=np.arange(1, snapshots + 1) if examples is None else np.array(examples),
        seed=0,
        intervals=intervals,
    )
