"""A command that is killed, which it cannot handle, leaves no process of its own running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.lab.runs.parent import PARENT, bound_to_this

ROOT = Path(__file__).resolve().parents[3]
if not Path("/proc/self/stat").exists():
    pytest.skip("processes are listed by /proc, which is not here", allow_module_level=True)


def children(parent: int) -> list[int]:
    """The processes that `parent` started and that run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, above = path.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        if int(above) == parent and state != "Z":
            found.append(int(path.parent.name))
    return found


def running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def test_a_comparison_killed_leaves_no_run_behind(tmp_path: Path) -> None:
    words = ["--preset", "tiny", "--methods", "flp", "oml", "--seeds", "1", "--jobs", "2"]
    command = [sys.executable, "-m", "experiments.compare", *words, "--steps", "1000000"]
    runs = [tmp_path / "compare" / f"{method}-seed0" for method in ("flp", "oml")]
    with subprocess.Popen(
        [*command, "--runs", str(tmp_path)], cwd=ROOT, stderr=subprocess.DEVNULL
    ) as process:
        wait_for(lambda: all((run / "metrics.jsonl").exists() for run in runs))
        started = children(process.pid)
        os.kill(process.pid, signal.SIGKILL)
    assert len(started) == 2
    wait_for(lambda: not any(map(running, started)), 20)
    for run in runs:
        said = run.with_name(f"{run.name}.log").read_text()
        assert "stopped by SIGTERM" in said  # as if it had been stopped: it can be resumed


WORKERS = (
    "import sys, time\n"
    "from experiments.lab.credit_checks.work import measured\n"
    "from tests.experiments.lab.slow_work import Slow\n"
    "measured({'slow': Slow()}, [0, 1], 2, 'slow')"
)


def test_workers_of_parallel_checks_end_with_them() -> None:
    with subprocess.Popen([sys.executable, "-c", WORKERS], cwd=ROOT) as process:
        try:
            wait_for(lambda: len(children(process.pid)) >= 2)
            time.sleep(3)  # the workers have begun
            started = children(process.pid)
        finally:
            os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not any(map(running, started)), 20)


def test_a_child_that_ignores_the_signal_ends_all_the_same(tmp_path: Path) -> None:
    stubborn = (
        "import signal, time, experiments.lab.runs.parent as parent\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "parent.PATIENCE = 0.1; parent.end_with_starter()\n"
        "print('begun', flush=True); time.sleep(60)"
    )
    starter = (
        "import subprocess, sys\n"
        "from experiments.lab.runs.parent import bound_to_this\n"
        f"child = subprocess.Popen([sys.executable, '-c', {stubborn!r}], env=bound_to_this())\n"
        "print(child.pid, flush=True); child.wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", starter], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert process.stdout.readline() == "begun\n"
        os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not running(child), 20)


def test_only_a_command_itself_is_bound_not_what_it_starts() -> None:
    ask = (
        "import os, experiments.lab.runs.parent as parent\n"
        "parent.end_with_starter(); print(os.environ.get(parent.PARENT))"
    )
    environment = bound_to_this()
    assert environment[PARENT] == str(os.getpid())
    done = subprocess.run(
        [sys.executable, "-c", ask], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stdout == "None\n"
