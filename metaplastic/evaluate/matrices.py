"""Whether the arrays of a report fit together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metaplastic.evaluate.continual_measures import Mask
from metaplastic.evaluate.intervals import Array


def check_matrices(
    error: Array,
    error_at_birth: Array,
    accuracy: Array | None,
    accuracy_at_birth: Array | None,
    seen: Mask,
    examples: NDArray[np.int64],
) -> None:
    """Refuse arrays that are no matrices of the same lifetimes, snapshots and subtasks."""
    shape = np.shape(error)
    if len(shape) != 3 or 0 in shape:
        raise ValueError(
            f"error has shape {shape}; it needs axes lifetimes, snapshots, subtasks, none of them "
            "empty. For a matrix of your own use report_of."
        )
    born = (shape[0], shape[2])
    for name, given, needed in (
        ("error_at_birth", error_at_birth, born), ("accuracy", accuracy, shape),
        ("accuracy_at_birth", accuracy_at_birth, born), ("seen", seen, shape),
        ("examples", examples, shape[1:2]),
    ):  # fmt: skip
        if given is not None and np.shape(given) != needed:
            raise ValueError(
                f"{name} has shape {np.shape(given)}, but errors of shape {shape} (lifetimes, "
                f"snapshots, subtasks) go with {needed}."
            )
    if (accuracy is None) != (accuracy_at_birth is None):
        raise ValueError("Of accuracy and accuracy_at_birth one is None; give both or neither.")
    if seen.dtype != bool or (seen[:, :-1] & ~seen[:, 1:]).any():
        raise ValueError(
            "seen must be True from the first snapshot that saw a subtask to the last: once seen "
            "is seen. Its axes are lifetimes, snapshots, subtasks."
        )
