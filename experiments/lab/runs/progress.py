"""Progress of a run: a bar on a terminal, else a line every 20 seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

LINE_EVERY = 20.0  # seconds, without a terminal


class Report(Protocol):
    def __call__(self, step: int, note: str = "") -> None:
        """`step` of the total are done; `note` is a few words, such as the current loss."""


@contextmanager
def progress(title: str, total: int, done: int = 0, percent: bool = False) -> Iterator[Report]:
    """A function that reports the steps done out of `total`; `done` are already complete."""
    if sys.stderr.isatty():
        yield from _bar(title, total, done, percent)
    else:
        yield _lines(title, total, done, percent)


def _bar(title: str, total: int, done: int, percent: bool) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn() if percent else MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("{task.fields[note]}"),
    )
    # Rates change slowly and are reported in bursts, so they are averaged over minutes.
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=120) as bars:
        bar = bars.add_task(title, total=total, completed=done, note="")

        def report(step: int, note: str = "") -> None:
            bars.update(bar, completed=step, note=note)

        yield report


def _lines(title: str, total: int, done: int, percent: bool) -> Report:
    begun = said = time.monotonic()
    finished = False

    def report(step: int, note: str = "") -> None:
        nonlocal said, finished
        now = time.monotonic()
        if finished or (now - said < LINE_EVERY and step < total):
            return
        said, finished = now, step >= total
        left = (now - begun) / max(step - done, 1) * (total - step)
        far = f"{100 * step / total:.0f} %" if percent else f"{step}/{total}"
        print(f"{title}: {far}, {clock(left)} left, {note}", file=sys.stderr, flush=True)

    return report


def clock(seconds: float) -> str:
    """Seconds as minutes:seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
