"""Atomic file writes.

A file is written under a temporary name, synced to the disk, and renamed. A killed process leaves
the former file or the new one; a full disk leaves the former one and raises `DiskFullError`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space on the disk, none within the quota, or none for a file of that size."""


class DiskFullError(OSError):
    """The disk, or the quota on it, is full."""

    def __str__(self) -> str:
        return str(self.strerror)  # without the error number that Python puts before it


@contextmanager
def saying_when_full(path: Path, stands: str) -> Iterator[None]:
    """A context that turns errors of a full disk into DiskFullError with the sentence `stands`."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise DiskFullError(
            error.errno, f"The disk is full: {path} could not be written. {stands} Free some space."
        ) from error


def sync_file(path: Path) -> None:
    """Sync a file, or a folder's entries, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_durably(path: Path, content: bytes) -> None:
    """Write `content` and sync it to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_atomically(path: Path, content: bytes, stands: str = "Nothing was changed.") -> None:
    """Write `content` to `path` atomically."""
    temporary = temporary_beside(path)
    with saying_when_full(path, stands):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_durably(temporary, content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_file(path.parent)


def temporary_beside(path: Path) -> Path:
    """A hidden name in the same folder: a rename is atomic only within one file system."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")
