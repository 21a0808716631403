"""The memory of a process; needs no library."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_mb() -> float:
    """The most memory this process has ever held, in MB (10^6 bytes)."""
    if STATUS.exists():
        # Linux hands the peak of getrusage on to a process from the one that started it.
        lines = STATUS.read_text(encoding="utf-8").splitlines()
        held = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        if held:
            return int(held[0]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
