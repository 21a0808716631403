"""A lock of a run folder: one process at a time writes a run."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from experiments.lab.settings.registry import ConfigError


@contextmanager
def alone_in(root: Path) -> Iterator[None]:
    """Hold the lock of the run in `root`, a file beside it that is removed afterwards.

    Raises:
        ConfigError: if another process holds it.
    """
    path = root.with_name(f".{root.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _locked(path, root)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.close()


def _locked(path: Path, root: Path) -> IO[str]:
    while True:
        lock = path.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise ConfigError(
                f"another process is writing this run ({root}): wait for its end, or choose "
                "another --name."
            ) from None
        if _is_at(lock, path):
            return lock
        lock.close()  # its holder has just removed it


def _is_at(lock: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False
