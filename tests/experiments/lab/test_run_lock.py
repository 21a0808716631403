"""Two processes never write one run, and a dead one never keeps another out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from experiments import meta_train
from experiments.lab.runs.run_folder import RunFolder
from experiments.lab.runs.run_lock import alone_in
from experiments.lab.settings.registry import ConfigError

ROOT = Path(__file__).resolve().parents[3]
HOLD = (
    "import sys, time, pathlib\n"
    "from experiments.lab.runs.run_lock import alone_in\n"
    "with alone_in(pathlib.Path(sys.argv[1])):\n"
    "    print('held', flush=True); time.sleep(60)"
)


@pytest.mark.parametrize("words", [[], ["--overwrite"], ["--resume"]], ids=" ".join)
def test_a_run_that_another_process_writes_is_left_alone(words: list[str], tmp_path: Path) -> None:
    given = ["--preset", "tiny", "--runs", str(tmp_path), "--name", "run"]
    if words:
        meta_train.main(given)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with alone_in(tmp_path / "run"), pytest.raises(ConfigError, match="another process is writing"):
        meta_train.main([*given, *words])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    run = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="another process is writing this run"), alone_in(run):
            pass
        os.kill(holder.pid, signal.SIGKILL)
    with alone_in(run):
        assert not run.exists()
    assert not list(tmp_path.iterdir())


def test_a_comparison_that_a_scheduler_ends_stops_its_runs_first(tmp_path: Path) -> None:
    words = ["--preset", "tiny", "--methods", "flp", "oml", "--seeds", "1", "--jobs", "2"]
    command = [sys.executable, "-m", "experiments.compare", *words, "--steps", "1000000"]
    process = subprocess.Popen(
        [*command, "--runs", str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    runs = [tmp_path / "compare" / f"{method}-seed0" for method in ("flp", "oml")]
    with process:
        while not all((run / "metrics.jsonl").exists() for run in runs):
            assert process.poll() is None, "the comparison ended before it could be stopped"
            time.sleep(0.05)
        process.terminate()
        process.terminate()  # as `timeout` does
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert said.splitlines()[-1] == "error: stopped by SIGTERM; the same command resumes."
    for run in runs:
        with alone_in(run):
            assert not (run / "result.json").exists()
        assert "stopped by SIGTERM" in run.with_name(f"{run.name}.log").read_text()


def test_a_lock_that_is_removed_while_it_is_taken_is_taken_again(tmp_path: Path) -> None:
    inside: list[int] = []

    def write(times: int = 200) -> None:
        for _ in range(times):
            try:
                with alone_in(tmp_path / "run"):
                    inside.append(1)
                    assert len(inside) == 1
                    inside.pop()
            except ConfigError:
                pass

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not inside  # a thread that met another inside would have left its mark


def test_a_finished_run_leaves_no_lock(tmp_path: Path) -> None:
    meta_train.main(["--preset", "tiny", "--runs", str(tmp_path), "--name", "run"])
    assert RunFolder(tmp_path / "run").results()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
