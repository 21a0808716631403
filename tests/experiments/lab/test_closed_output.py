"""Output that nobody reads any more, as behind `| head`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
HOW = {"as it is printed": {**BUFFERED, "PYTHONUNBUFFERED": "1"}, "at the end": BUFFERED}


COMMANDS = {
    "the lab": "experiments.speed --help", "the package": "metaplastic rules"
}  # fmt: skip


def printed_to(output: int, command: str, how: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", *COMMANDS[command].split()], cwd=ROOT, stdout=output,
        stderr=subprocess.PIPE, text=True, timeout=120, env=HOW[how],
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("how", HOW)
def test_a_reader_that_has_enough_is_no_error(command: str, how: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # as `| head` does, at the latest after its lines
    try:
        assert printed_to(writing, command, how) == (0, "")
    finally:
        os.close(writing)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("how", HOW)
def test_a_full_disk_is_a_sentence(command: str, how: str) -> None:
    with open("/dev/full", "wb") as full:
        status, said = printed_to(full.fileno(), command, how)
    assert status == 1
    assert said.startswith("error: the disk is full")
    assert said.count("\n") == 1
