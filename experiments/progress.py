"""How far a run is and how long it takes yet: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

LINE_EVERY = 20.0  # seconds, where nobody watches


class Report(Protocol):
    def __call__(self, step: int, note: str = "") -> None:
        """`step` of the total are done; `note` is a few words, such as the current loss."""


@contextmanager
def progress(title: str, total: int, done: int = 0, quiet: bool = False) -> Iterator[Report]:
    """A reporter of steps done out of `total`, of which `done` lie behind us already."""
    if quiet:
        yield lambda step, note="": None
    elif sys.stderr.isatty():
        yield from _bar(title, total, done)
    else:
        yield _lines(title, total, done)


def _bar(title: str, total: int, done: int) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task(title, total=total, completed=done, note="")
        yield lambda step, note="": bars.update(bar, completed=step, note=note)


def _lines(title: str, total: int, done: int) -> Report:
    begun = said = time.monotonic()

    def report(step: int, note: str = "") -> None:
        nonlocal said
        now = time.monotonic()
        if now - said < LINE_EVERY and step < total:
            return
        said = now
        left = (now - begun) / max(step - done, 1) * (total - step)
        print(f"{title}: {step}/{total}, {clock(left)} left, {note}", file=sys.stderr, flush=True)

    return report


def clock(seconds: float) -> str:
    """Seconds as minutes:seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
