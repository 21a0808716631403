"""The shape check of a report's arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metaplastic.evaluate.continual_measures import Mask
from metaplastic.evaluate.intervals import Array


def check_matrices(
    error: Array,
    initial_error: Array,
    accuracy: Array | None,
    initial_accuracy: Array | None,
    seen: Mask,
    examples: NDArray[np.int64],
) -> None:
    """Raise ValueError unless the arrays have the same lifetimes, snapshots and subtasks."""
    shape = np.shape(error)
    if len(shape) != 3 or 0 in shape:
        raise ValueError(
            f"error has shape {shape}; it needs axes lifetimes, snapshots, subtasks, none of them "
            "empty. For a matrix measured elsewhere use report_from_matrix."
        )
    initial = (shape[0], shape[2])
    for name, given, needed in (
        ("initial_error", initial_error, initial), ("accuracy", accuracy, shape),
        ("initial_accuracy", initial_accuracy, initial), ("seen", seen, shape),
        ("examples", examples, shape[1:2]),
    ):  # fmt: skip
        if given is not None and np.shape(given) != needed:
            raise ValueError(
                f"{name} has shape {np.shape(given)}; for errors of shape {shape} (lifetimes, "
                f"snapshots, subtasks) it must have shape {needed}."
            )
    if (accuracy is None) != (initial_accuracy is None):
        raise ValueError("Of accuracy and initial_accuracy one is None; give both or neither.")
    if seen.dtype != bool or (seen[:, :-1] & ~seen[:, 1:]).any():
        raise ValueError(
            "seen must be boolean, and True from the first snapshot after a subtask occurred to "
            "the last. Its axes are lifetimes, snapshots, subtasks."
        )
