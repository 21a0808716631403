"""What a command prints, where nobody reads it any more or there is no room for it."""

from __future__ import annotations

import errno
import os
import select
import sys
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def run_and_flush(run: Callable[[], Result]) -> Result:
    """What `run` returns, after all that it printed is written, while an error can still be said.

    Raises:
        OSError: where it cannot be written.
    """
    try:
        result = run()
    except SystemExit:  # of --help
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return result


def finish_output(error: BaseException) -> bool:
    """Write out what was printed, or drop what cannot be written, after an error.

    Python would try it again at its own end, and say so at length.

    Returns:
        Whether the error is that nobody reads the output any more, as behind `| head`.
    """
    unread = isinstance(error, BrokenPipeError) and _has_no_reader()
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return unread


def _has_no_reader() -> bool:
    ends = select.poll()
    ends.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in ends.poll(0))


def sentence_of(error: OSError) -> str | None:
    """What a command says of a file or a disk; None where the error is of neither."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the disk is full ({error.filename or 'while writing'}): make room."
    return f"{error.filename}: {error.strerror}." if error.filename else None
