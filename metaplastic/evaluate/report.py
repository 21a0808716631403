"""The record of many lifetimes: what was known of every subtask at every moment.

Everything a continual-learning table shows is derived from one array, the error (and accuracy) of
each lifetime, after each part of it, on each subtask.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from metaplastic.evaluate import continual_measures as measures
from metaplastic.evaluate.continual_measures import Mask, mean_where
from metaplastic.evaluate.intervals import Array, Interval, Kind, interval, jsonable
from metaplastic.evaluate.matrices import check_matrices
from metaplastic.support.choices import check_choice
from metaplastic.support.disk import write_atomically

Measure: TypeAlias = Literal["error", "accuracy"]
Against: TypeAlias = Literal["first", "best"]


@dataclass(frozen=True)
class ContinualReport:
    """Errors (the objective's loss) and accuracies; subtasks are in the order they were met.

    All intervals are 95%, over lifetimes, of the kind `intervals`. `report_of` makes one of a
    matrix that was measured elsewhere.

    Raises:
        ValueError: if arrays do not fit together, or what was seen is not seen any more.
    """

    error: Array  # lifetimes snapshots subtasks; NaN where no query asks for the subtask
    error_at_birth: Array  # lifetimes subtasks
    accuracy: Array | None  # as error, for classification
    accuracy_at_birth: Array | None
    seen: Mask  # lifetimes snapshots subtasks: met in the stream by then
    examples: NDArray[np.int64]  # snapshots: examples seen by then
    seed: int
    intervals: Kind = "normal"
    # The same on the very examples that the lifetime was taught, in place of others of their
    # kind: the training trajectory of Javed & White (2019). It measures forgetting alone.
    trajectory: ContinualReport | None = None

    def __post_init__(self) -> None:
        check_choice("intervals", self.intervals, Kind)
        check_matrices(
            self.error, self.error_at_birth, self.accuracy, self.accuracy_at_birth, self.seen,
            self.examples,
        )  # fmt: skip
        if self.trajectory is not None and self.trajectory.error.shape != self.error.shape:
            raise ValueError(
                f"The trajectory's errors have shape {self.trajectory.error.shape}, those of the "
                f"queries {self.error.shape}; both need axes lifetimes, snapshots, subtasks."
            )

    @property
    def diverged(self) -> int:
        """Lifetimes with an error that is not finite; it counts as infinite in every mean.

        Forgetting of what was ever infinite is infinite too, and its transfer minus infinity.
        """
        return int(np.isinf(self.error).any((1, 2)).sum())

    @property
    def subtasks_seen(self) -> Array:
        """How many subtasks were met by each snapshot: mean over lifetimes.

        With `on_seen("accuracy")`, the curve of accuracy against number of classes learned.
        """
        seen: Array = self.seen.sum(2).mean(0)
        return seen

    def matrix(self, of: Measure = "error") -> Interval:
        """Mean over lifetimes: snapshots subtasks."""
        return self._interval(self._values(of))

    def on_seen(self, of: Measure = "error") -> Interval:
        """Mean over the subtasks met so far, at each snapshot."""
        return self._interval(mean_where(self._values(of), self.seen))

    def on_all(self, of: Measure = "error") -> Interval:
        """Mean over all subtasks, met or not, at each snapshot: the curve over `examples`."""
        return self._interval(mean_where(self._values(of), np.ones_like(self.seen)))

    def at_birth(self, of: Measure = "error") -> Interval:
        """Mean over all subtasks before the first example."""
        born = self._values(of, at_birth=True)
        return self._interval(mean_where(born, np.ones_like(born, dtype=bool)))

    def at_end(self, of: Measure = "error") -> Interval:
        """Of each subtask, at the end of the lifetime."""
        return self._interval(self._values(of)[:, -1])

    def average_over_time(self, of: Measure = "error") -> Interval:
        """Mean over snapshots of `on_seen`.

        Of accuracies, the average incremental accuracy of Rebuffi et al. (2017, iCaRL).
        """
        return self._interval(measures.average_over_time(self._values(of), self.seen))

    def forgetting(self, of: Measure = "error", against: Against = "first") -> Interval:
        """By how much a subtask is known worse at the end than it was: positive is forgotten.

        Against `first`: the first snapshot that saw it. Against `best`: the best one from there
        on, but for the last (Chaudhry et al. 2018). Mean over the subtasks met before the last
        snapshot; NaN where there is none.
        """
        check_choice("against", against, Against)
        since = {"first": measures.forgetting_since_first, "best": measures.forgetting_since_best}
        return self._interval(since[against](self._good(of), self.seen))

    def backward_transfer(self, of: Measure = "error") -> Interval:
        """By how much a subtask is known better at the end than at the first snapshot that saw it.

        Lopez-Paz & Ranzato (2017, GEM). Positive is good, of errors as well: the error fell. Mean
        over the subtasks met before the last snapshot; the opposite of `forgetting`.
        """
        return self._interval(measures.backward_transfer(self._good(of), self.seen))

    def forward_transfer(self, of: Measure = "error") -> Interval:
        """By how much a subtask is known better than at birth just before it is first met.

        Lopez-Paz & Ranzato (2017, GEM). Positive is good, of errors as well: the error fell. "Just
        before" is the snapshot before the first one that saw it. Mean over the subtasks met after
        the first snapshot; NaN where there is none.
        """
        born = self._good(of, at_birth=True)
        return self._interval(measures.forward_transfer(self._good(of), born, self.seen))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able summary, with the whole matrix of means; NaN becomes None, infinity 'inf'."""
        summary: dict[str, Any] = {
            "lifetimes": len(self.error),
            "diverged": self.diverged,
            "seed": self.seed,
            "intervals": self.intervals,
            "examples": self.examples.tolist(),
            "subtasks_seen": self.subtasks_seen.tolist(),
            **self._derived(),
        }
        if self.trajectory is not None:
            told = self.trajectory
            summary["trajectory"] = {"diverged": told.diverged, **told._derived()}
        plain: dict[str, Any] = jsonable(summary)
        return plain

    def to_json(self, path: str | Path | None = None) -> str:
        """`to_dict` as text, also written to `path` if one is given."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        if path is not None:
            write_atomically(Path(path), text.encode() + b"\n")
        return text

    def to_csv(self, path: str | Path | None = None) -> str:
        """One line for each snapshot and subtask: means with their intervals."""
        columns: dict[str, Array] = {}
        for prefix, report in (("", self), ("trajectory_", self.trajectory)):
            if report is not None:
                for of in report._measures:
                    found = report.matrix(of)
                    columns[f"{prefix}{of}"] = found.mean
                    columns |= {f"{prefix}{of}_low": found.low, f"{prefix}{of}_high": found.high}
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["examples", "snapshot", "subtask", "seen", *columns])
        seen = self.seen.mean(0)
        for snapshot, examples in enumerate(self.examples):
            for subtask in range(self.error.shape[2]):
                means = [column[snapshot, subtask] for column in columns.values()]
                writer.writerow([examples, snapshot, subtask, seen[snapshot, subtask], *means])
        if path is not None:
            write_atomically(Path(path), text.getvalue().encode())
        return text.getvalue()

    @property
    def _measures(self) -> tuple[Measure, ...]:
        return ("error",) if self.accuracy is None else ("error", "accuracy")

    def _derived(self) -> dict[str, Any]:
        summary: dict[str, Any] = {}
        for of in self._measures:
            derived = {
                "at_birth": self.at_birth(of), "on_seen": self.on_seen(of),
                "on_all": self.on_all(of), "at_end": self.at_end(of),
                "average_over_time": self.average_over_time(of),
                "forgetting": self.forgetting(of),
                "forgetting_from_best": self.forgetting(of, against="best"),
                "backward_transfer": self.backward_transfer(of),
                "forward_transfer": self.forward_transfer(of), "matrix": self.matrix(of),
            }  # fmt: skip
            summary[of] = {name: value.to_dict() for name, value in derived.items()}
        return summary

    def _values(self, of: Measure, at_birth: bool = False) -> Array:
        check_choice("of", of, Measure)
        values = {
            "error": self.error_at_birth if at_birth else self.error,
            "accuracy": self.accuracy_at_birth if at_birth else self.accuracy,
        }[of]
        if values is None:
            raise ValueError("A regression stream has no accuracy. Ask for the error.")
        return values

    def _good(self, of: Measure, at_birth: bool = False) -> Array:
        """The values, the higher the better."""
        return self._values(of, at_birth) * (1 if of == "accuracy" else -1)

    def _interval(self, values: Array) -> Interval:
        return interval(values, self.intervals, self.seed)
