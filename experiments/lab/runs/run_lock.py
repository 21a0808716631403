"""A lock of a run folder: one process at a time writes a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from experiments.lab.settings.registry import ConfigError


@contextmanager
def alone_in(root: Path) -> Iterator[None]:
    """Hold the lock of the run in `root`, a file beside it that is removed afterwards.

    Raises:
        ConfigError: if another process holds it.
    """
    path = root.with_name(f".{root.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise ConfigError(
            f"another process is writing this run ({root}): wait for its end, or choose "
            "another --name."
        ) from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while held: whoever waits for it takes a new file
        lock.release()
