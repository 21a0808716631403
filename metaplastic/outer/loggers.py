"""Where metrics go. A sink is anything with `log` and `close`; JSON lines need no other package.

A sink that can take lines back (`rewind`) lets an interrupted run leave the record of an
uninterrupted one: on resuming, what was logged after the checkpoint is dropped and lived again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from metaplastic.support.disk import saying_when_full, sync_file, write_atomically

Metrics: TypeAlias = Mapping[str, float | int | str]

TIMINGS = ("seconds", "sampling_share", "episodes_per_second")
"""The metrics that differ between two runs that are otherwise the same."""


@runtime_checkable
class Sink(Protocol):
    """Receives the metrics of some meta-steps, in order."""

    def log(self, step: int, metrics: Metrics) -> None:
        """`metrics` of the meta-step after which `step` of them were done."""
        ...

    def close(self) -> None:
        """No more is coming."""
        ...


@runtime_checkable
class DurableSink(Sink, Protocol):
    """A sink whose record can be cut back to a step, and forced to the disk."""

    def rewind(self, step: int) -> None:
        """Forget every line after `step`, and a last line that was never finished."""
        ...

    def sync(self) -> None:
        """Return once all lines are on the disk. Called before each checkpoint."""
        ...


def log_to(sinks: Sequence[Sink], step: int, metrics: Metrics) -> None:
    """Tell all of them."""
    for sink in sinks:
        sink.log(step, metrics)


def rewind(sinks: Sequence[Sink], step: int) -> None:
    """Cut back to `step` those that can be."""
    for sink in sinks:
        if isinstance(sink, DurableSink):
            sink.rewind(step)


def sync(sinks: Sequence[Sink]) -> None:
    """Have on the disk what those hold that can be."""
    for sink in sinks:
        if isinstance(sink, DurableSink):
            sink.sync()


class JsonLines:
    """One JSON object a line, `{"step": 10, "loss": ...}`, readable while it is written.

    The file is opened for each line: there is nothing to lose in a buffer and nothing to close.
    JSON has no word for what is not finite: such numbers are the strings "nan", "inf", "-inf",
    which `float` understands.

    Raises:
        FileExistsError: at the first line, if the file has lines that no `rewind` allowed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._continues = False

    def log(self, step: int, metrics: Metrics) -> None:
        line = json.dumps({"step": step} | {k: _finite(v) for k, v in metrics.items()})
        with saying_when_full(self.path, "The lines before it are intact."):
            self._begin()
            with self.path.open("ab") as file:
                file.write(line.encode() + b"\n")

    def rewind(self, step: int) -> None:
        self._continues = True
        if self.path.exists():
            kept = b"".join(
                line
                for line in self.path.read_bytes().splitlines(keepends=True)
                if line.endswith(b"\n") and json.loads(line)["step"] <= step
            )
            write_atomically(self.path, kept)

    def sync(self) -> None:
        if self.path.exists():
            with saying_when_full(self.path, "It may lack its last lines."):
                sync_file(self.path)

    def close(self) -> None:
        pass

    def _begin(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self._continues and self.path.exists() and self.path.stat().st_size:
            raise FileExistsError(
                f"{self.path} already holds the metrics of a run. "
                "Resume that run, or log to another file."
            )
        self._continues = True


def _finite(value: float | int | str) -> float | int | str:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
