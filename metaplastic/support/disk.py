"""Files that are either whole or absent, whatever happens while they are written.

A file is written beside its final place, forced to the disk, and renamed. A kill leaves the
former file or the new one; a full disk leaves the former one and a sentence.
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
    """The disk, or the quota on it, has no room for what was to be written."""

    def __str__(self) -> str:
        return str(self.strerror)  # the sentence, without the number that Python puts before it


@contextmanager
def saying_when_full(path: Path, stands: str) -> Iterator[None]:
    """Turn 'no space left' into one sentence; `stands` says what is still safe."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise DiskFullError(
            error.errno, f"The disk is full: {path} could not be written. {stands} Free some space."
        ) from error


def sync_file(path: Path) -> None:
    """Force a file, or a folder's list of names, to the disk, so that it survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_durably(path: Path, content: bytes) -> None:
    """Write `content` and return once it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_atomically(path: Path, content: bytes, stands: str = "Nothing was changed.") -> None:
    """Make `path` hold exactly `content`, or leave it as it was."""
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
