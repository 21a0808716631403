"""The continual-learning report: error and accuracy on every subtask at every snapshot.

Everything a continual-learning table shows is derived from one array, the error (and accuracy) of
each lifetime, at each snapshot, on each subtask.
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
from metaplastic.support.renamed import renamed_arguments, warn_renamed

Measure: TypeAlias = Literal["error", "accuracy"]
Against: TypeAlias = Literal["first", "best"]


@dataclass(frozen=True)
class ContinualReport:
    """Errors (the objective's loss) and accuracies; subtasks are in the order they occurred.

    All intervals are 95%, over lifetimes, of the kind `intervals`. `report_from_matrix` makes one
    of a matrix that was measured elsewhere.

    Raises:
        ValueError: if the shapes of arrays differ, or `seen` goes from True back to False.
    """

    error: Array  # lifetimes snapshots subtasks; NaN where the subtask has no query
    initial_error: Array  # lifetimes subtasks: before the first example
    accuracy: Array | None  # as error, for classification
    initial_accuracy: Array | None
    seen: Mask  # lifetimes snapshots subtasks: occurred in the stream by then
    examples: NDArray[np.int64]  # snapshots: examples seen by then
    seed: int
    intervals: Kind = "normal"
    # The same on the training examples of the lifetime instead of held-out ones: the training
    # trajectory of Javed & White (2019). It measures forgetting without generalization.
    trajectory: ContinualReport | None = None

    def __post_init__(self) -> None:
        check_choice("intervals", self.intervals, Kind)
        check_matrices(
            self.error, self.initial_error, self.accuracy, self.initial_accuracy, self.seen,
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

        Forgetting of a subtask with an infinite error is infinite, its transfer minus infinity.
        """
        return int(np.isinf(self.error).any((1, 2)).sum())

    @property
    def subtasks_seen(self) -> Array:
        """The number of subtasks seen by each snapshot: mean over lifetimes.

        With `on_seen("accuracy")`, the curve of accuracy against number of classes learned.
        """
        seen: Array = self.seen.sum(2).mean(0)
        return seen

    def matrix(self, of: Measure = "error") -> Interval:
        """Mean over lifetimes: snapshots subtasks."""
        return self._interval(self._values(of))

    def on_seen(self, of: Measure = "error") -> Interval:
        """Mean over the subtasks seen so far, at each snapshot."""
        return self._interval(mean_where(self._values(of), self.seen))

    def on_all(self, of: Measure = "error") -> Interval:
        """Mean over all subtasks, seen or not, at each snapshot: the curve over `examples`."""
        return self._interval(mean_where(self._values(of), np.ones_like(self.seen)))

    def initial(self, of: Measure = "error") -> Interval:
        """Mean over all subtasks before the first example."""
        values = self._values(of, initial=True)
        return self._interval(mean_where(values, np.ones_like(values, dtype=bool)))

    def at_end(self, of: Measure = "error") -> Interval:
        """Of each subtask, at the end of the lifetime."""
        return self._interval(self._values(of)[:, -1])

    def average_over_time(self, of: Measure = "error") -> Interval:
        """Mean over snapshots of `on_seen`.

        Of accuracies, the average incremental accuracy of Rebuffi et al. (2017, iCaRL).
        """
        return self._interval(measures.average_over_time(self._values(of), self.seen))

    def forgetting(self, of: Measure = "error", against: Against = "first") -> Interval:
        """Performance on a subtask at an earlier snapshot minus that at the end.

        Against `first`: the first snapshot that saw it. Against `best`: the best one from there
        on, except the last (Chaudhry et al. 2018). Mean over the subtasks seen before the last
        snapshot; NaN where there is none.
        """
        check_choice("against", against, Against)
        since = {"first": measures.forgetting_since_first, "best": measures.forgetting_since_best}
        return self._interval(since[against](self._performance(of), self.seen))

    def backward_transfer(self, of: Measure = "error") -> Interval:
        """Performance on a subtask at the end minus that at the first snapshot that saw it.

        Lopez-Paz & Ranzato (2017, GEM). Positive is an improvement, also for errors. Mean over
        the subtasks seen before the last snapshot; the negative of `forgetting`.
        """
        return self._interval(measures.backward_transfer(self._performance(of), self.seen))

    def forward_transfer(self, of: Measure = "error") -> Interval:
        """Performance on a subtask just before it is first seen minus the initial performance.

        Lopez-Paz & Ranzato (2017, GEM). Positive is an improvement, also for errors. "Just
        before" is the snapshot before the first one that saw it. Mean over the subtasks seen
        after the first snapshot; NaN where there is none.
        """
        initial = self._performance(of, initial=True)
        values = self._performance(of)
        return self._interval(measures.forward_transfer(values, initial, self.seen))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able summary with the full matrix of means; NaN becomes None, infinity 'inf'."""
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
            trajectory = self.trajectory
            summary["trajectory"] = {
                "diverged": trajectory.diverged, **trajectory._derived()
            }  # fmt: skip
        plain: dict[str, Any] = jsonable(summary)
        return plain

    def to_json(self, path: str | Path | None = None) -> str:
        """`to_dict` as text, also written to `path` if one is given."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        if path is not None:
            write_atomically(Path(path), text.encode() + b"\n")
        return text

    def to_csv(self, path: str | Path | None = None) -> str:
        """CSV text with a line per snapshot and subtask: means with their intervals."""
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
                "initial": self.initial(of), "on_seen": self.on_seen(of),
                "on_all": self.on_all(of), "at_end": self.at_end(of),
                "average_over_time": self.average_over_time(of),
                "forgetting": self.forgetting(of),
                "forgetting_from_best": self.forgetting(of, against="best"),
                "backward_transfer": self.backward_transfer(of),
                "forward_transfer": self.forward_transfer(of), "matrix": self.matrix(of),
            }  # fmt: skip
            summary[of] = {name: value.to_dict() for name, value in derived.items()}
        return summary

    def _values(self, of: Measure, initial: bool = False) -> Array:
        check_choice("of", of, Measure)
        values = {
            "error": self.initial_error if initial else self.error,
            "accuracy": self.initial_accuracy if initial else self.accuracy,
        }[of]
        if values is None:
            raise ValueError("A regression stream has no accuracy; use of='error'.")
        return values

    def _performance(self, of: Measure, initial: bool = False) -> Array:
        """The values with a sign such that higher is better."""
        return self._values(of, initial) * (1 if of == "accuracy" else -1)

    def _interval(self, values: Array) -> Interval:
        return interval(values, self.intervals, self.seed)

    @property
    def error_at_birth(self) -> Array:
        """The former name of `initial_error`."""
        warn_renamed("error_at_birth", "initial_error")
        return self.initial_error

    @property
    def accuracy_at_birth(self) -> Array | None:
        """The former name of `initial_accuracy`."""
        warn_renamed("accuracy_at_birth", "initial_accuracy")
        return self.initial_accuracy

    def at_birth(self, of: Measure = "error") -> Interval:
        """The former name of `initial`."""
        warn_renamed("at_birth", "initial")
        return self.initial(of)


ContinualReport.__init__ = renamed_arguments(  # type: ignore[method-assign]
    error_at_birth="initial_error", accuracy_at_birth="initial_accuracy"
)(ContinualReport.__init__)
