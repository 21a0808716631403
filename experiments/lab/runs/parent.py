"""Processes that end with the one that started them, however that one ends.

A process killed by `kill -9` cannot stop its children, so a child looks for its parent itself.
"""

from __future__ import annotations

import os
import signal
import threading
import time

PARENT = "METAPLASTIC_PARENT"  # environment variable with the process id to watch
POLL = 0.5  # seconds
PATIENCE = 10.0  # seconds for the end that SIGTERM begins; a run can be killed at any time


def bound_to_this(environment: dict[str, str] | None = None) -> dict[str, str]:
    """An environment in which a command ends with this process."""
    return {**(os.environ if environment is None else environment), PARENT: str(os.getpid())}


def end_with_starter() -> None:
    """End with the process that `bound_to_this`, or torchrun, made the parent of this one."""
    named = os.environ.pop(PARENT, None)  # of this process, not of those that it starts
    if named is not None:
        end_with(int(named))
    elif "TORCHELASTIC_RUN_ID" in os.environ:
        end_with(os.getppid())


def end_with(parent: int) -> None:
    """End this process soon after `parent`, which started it, has ended; returns at once."""
    threading.Thread(target=_watch, args=(parent,), name="parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(128 + signal.SIGTERM)  # within a long step, where the signal is not handled
