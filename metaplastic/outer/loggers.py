"""Loggers of metrics: the protocol, and a logger that writes JSON lines.

A logger that can remove records (`rewind`) makes the record of an interrupted and resumed run equal
to that of an uninterrupted one: metrics logged after the checkpoint are removed and logged again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from metaplastic.support.disk import saying_when_full, sync_file, write_atomically
from metaplastic.support.json_values import finite
from metaplastic.support.renamed import former_names

Metrics: TypeAlias = Mapping[str, float | int | str]

TIMINGS = ("seconds", "sampling_share", "episodes_per_second")
"""Metrics that may differ between two identical runs."""


@runtime_checkable
class Logger(Protocol):
    """Receives the metrics of meta-steps, in order."""

    def log(self, step: int, metrics: Metrics) -> None:
        """Record the `metrics` of meta-step `step`, counted from 1."""
        ...

    def close(self) -> None:
        """Release resources; called once, at the end."""
        ...


@runtime_checkable
class ResumableLogger(Logger, Protocol):
    """A logger whose record can be cut back to a step and synced to the disk."""

    def rewind(self, step: int) -> None:
        """Remove the records after `step`, and an incomplete last one."""
        ...

    def sync(self) -> None:
        """Sync all records to the disk. Called before each checkpoint."""
        ...


@runtime_checkable
class FileLogger(Logger, Protocol):
    """A logger that keeps files as well: figures, texts and folders."""

    def log_files(self, step: int, files: Mapping[str, Path]) -> None:
        """Keep `files`, by name, as they are after meta-step `step`."""
        ...


def log_files(loggers: Sequence[Logger], step: int, files: Mapping[str, Path]) -> None:
    """Hand files to the loggers that keep them."""
    for logger in loggers:
        if isinstance(logger, FileLogger):
            logger.log_files(step, files)


def log_to(loggers: Sequence[Logger], step: int, metrics: Metrics) -> None:
    """Log to every logger."""
    for logger in loggers:
        logger.log(step, metrics)


def rewind(loggers: Sequence[Logger], step: int) -> None:
    """Cut the resumable loggers back to `step`."""
    for logger in loggers:
        if isinstance(logger, ResumableLogger):
            logger.rewind(step)


def sync(loggers: Sequence[Logger]) -> None:
    """Sync the resumable loggers to the disk."""
    for logger in loggers:
        if isinstance(logger, ResumableLogger):
            logger.sync()


class JsonLines:
    """A logger that writes one JSON object per line, `{"step": 10, "loss": ...}`.

    The file is opened for each line, so nothing is buffered. Numbers that are not finite become the
    strings "nan", "inf", "-inf", which `float` reads.

    Raises:
        FileExistsError: at the first line, if the file is not empty and `rewind` was not called.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._resumed = False

    def log(self, step: int, metrics: Metrics) -> None:
        """Write one line; DiskFullError if it does not fit."""
        line = json.dumps(finite({"step": step, **metrics}))
        with saying_when_full(self.path, "The lines before it are intact."):
            self._begin()
            with self.path.open("ab") as file:
                file.write(line.encode() + b"\n")

    def rewind(self, step: int) -> None:
        """Remove the lines after `step`, and an incomplete last one."""
        self._resumed = True
        if self.path.exists():
            kept = b"".join(
                line
                for line in self.path.read_bytes().splitlines(keepends=True)
                if line.endswith(b"\n") and json.loads(line)["step"] <= step
            )
            write_atomically(self.path, kept)

    def sync(self) -> None:
        """Sync the file to the disk."""
        if self.path.exists():
            with saying_when_full(self.path, "It may lack its last lines."):
                sync_file(self.path)

    def close(self) -> None:
        """Do nothing: the file is open for one line at a time."""

    def _begin(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self._resumed and self.path.exists() and self.path.stat().st_size:
            raise FileExistsError(
                f"{self.path} already holds the metrics of a run. "
                "Resume that run, or log to another file."
            )
        self._resumed = True


__getattr__ = former_names(globals(), Sink="Logger", DurableSink="ResumableLogger")
