"""The record of many lifetimes: what was known in the end, or of every subtask at every moment.

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

from metaplastic.disk import write_atomically
from metaplastic.intervals import Array, Interval, interval, jsonable

Mask: TypeAlias = NDArray[np.bool_]
Measure: TypeAlias = Literal["error", "accuracy"]


@dataclass(frozen=True)
class FewShotReport:
    """Loss and, for classification, accuracy of each episode, in the order they were drawn."""

    losses: Array  # episodes
    accuracies: Array | None  # episodes
    seed: int

    @property
    def diverged(self) -> int:
        """Episodes whose loss is not finite: it counts as infinite, and its answers as wrong."""
        return int((~np.isfinite(self.losses)).sum())

    @property
    def loss(self) -> Interval:
        """Mean over episodes with the normal 95% interval."""
        return interval(self.losses)

    @property
    def accuracy(self) -> Interval | None:
        """Mean over episodes with the normal 95% interval; None for regression."""
        return None if self.accuracies is None else interval(self.accuracies)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able summary."""
        found = {"loss": self.loss.to_dict()}
        if self.accuracy is not None:
            found["accuracy"] = self.accuracy.to_dict()
        count = {"episodes": len(self.losses), "diverged": self.diverged, "seed": self.seed}
        plain: dict[str, Any] = jsonable(count | found)
        return plain


@dataclass(frozen=True)
class ContinualReport:
    """Errors (the objective's loss) and accuracies; subtasks are in the order they were met.

    All intervals are 95%, over lifetimes, of the kind `intervals`.
    """

    error: Array  # lifetimes snapshots subtasks; NaN where no query asks for the subtask
    error_at_birth: Array  # lifetimes subtasks
    accuracy: Array | None  # as error, for classification
    accuracy_at_birth: Array | None
    seen: Mask  # lifetimes snapshots subtasks: met in the stream by then
    examples: NDArray[np.int64]  # snapshots: examples seen by then
    seed: int
    intervals: Literal["normal", "bootstrap"] = "normal"

    @property
    def diverged(self) -> int:
        """Lifetimes with an error that is not finite; it counts as infinite in every mean."""
        return int(np.isinf(self.error).any((1, 2)).sum())

    def matrix(self, of: Measure = "error") -> Interval:
        """Mean over lifetimes: snapshots subtasks."""
        return self._interval(self._values(of))

    def on_seen(self, of: Measure = "error") -> Interval:
        """Mean over the subtasks met so far, at each snapshot."""
        return self._interval(_mean_where(self._values(of), self.seen))

    def on_all(self, of: Measure = "error") -> Interval:
        """Mean over all subtasks, met or not, at each snapshot: the curve over `examples`."""
        return self._interval(_mean_where(self._values(of), np.ones_like(self.seen)))

    def at_birth(self, of: Measure = "error") -> Interval:
        """Mean over all subtasks before the first example."""
        born = self.error_at_birth if of == "error" else self.accuracy_at_birth
        if born is None:
            raise ValueError(_NO_ACCURACY)
        return self._interval(_mean_where(born, np.ones_like(born, dtype=bool)))

    def at_end(self, of: Measure = "error") -> Interval:
        """Of each subtask, at the end of the lifetime."""
        return self._interval(self._values(of)[:, -1])

    def forgetting(self, of: Measure = "error") -> Interval:
        """By how much a subtask is known worse at the end than at the first snapshot that saw it.

        Mean over the subtasks met before the last snapshot; NaN where there is none.
        """
        values = self._values(of)
        if values.shape[1] == 1:
            return self._interval(np.full(len(values), np.nan))
        learned = self.seen.argmax(1)[:, None]  # lifetimes 1 subtasks
        then = np.take_along_axis(values, learned, 1)[:, 0]
        with np.errstate(invalid="ignore"):  # infinite then and infinite now: not known
            worse = (values[:, -1] - then) * (1 if of == "error" else -1)
        return self._interval(_mean_where(worse, self.seen[:, -2]))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able summary, with the whole matrix of means; NaN becomes None, infinity 'inf'."""
        kinds: tuple[Measure, ...] = ("error",) if self.accuracy is None else ("error", "accuracy")
        summary: dict[str, Any] = {
            "lifetimes": len(self.error),
            "diverged": self.diverged,
            "seed": self.seed,
            "intervals": self.intervals,
            "examples": self.examples.tolist(),
        }
        for of in kinds:
            derived = {
                "at_birth": self.at_birth(of), "on_seen": self.on_seen(of),
                "on_all": self.on_all(of), "at_end": self.at_end(of),
                "forgetting": self.forgetting(of), "matrix": self.matrix(of),
            }  # fmt: skip
            summary[of] = {name: value.to_dict() for name, value in derived.items()}
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
        kinds: tuple[Measure, ...] = ("error",) if self.accuracy is None else ("error", "accuracy")
        columns = {f"{of}{end}": getattr(self.matrix(of), field)
                   for of in kinds for end, field in
                   (("", "mean"), ("_low", "low"), ("_high", "high"))}  # fmt: skip
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["examples", "snapshot", "subtask", "seen", *columns])
        for snapshot, examples in enumerate(self.examples):
            for subtask in range(self.error.shape[2]):
                seen = self.seen[:, snapshot, subtask].mean()
                means = [column[snapshot, subtask] for column in columns.values()]
                writer.writerow([examples, snapshot, subtask, seen, *means])
        if path is not None:
            write_atomically(Path(path), text.getvalue().encode())
        return text.getvalue()

    def _values(self, of: Measure) -> Array:
        values = self.error if of == "error" else self.accuracy
        if values is None:
            raise ValueError(_NO_ACCURACY)
        return values

    def _interval(self, values: Array) -> Interval:
        return interval(values, self.intervals, self.seed)


_NO_ACCURACY = "A regression stream has no accuracy. Ask for the error."


def _mean_where(values: Array, mask: Mask) -> Array:
    """Mean over the last axis of what is masked and not NaN; NaN where there is nothing."""
    counted = mask & ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Array = np.where(counted, values, 0.0).sum(-1) / counted.sum(-1)
    return mean
