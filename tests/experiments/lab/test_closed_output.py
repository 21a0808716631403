"""Output that nobody reads any more, as behind `| head`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_a_reader_that_has_enough_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)  # as `| head` does, at the latest after its lines
    done = subprocess.run(
        [sys.executable, "-m", "experiments.speed", "--help"], cwd=ROOT, stdout=writing,
        stderr=subprocess.PIPE, text=True, timeout=120,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
