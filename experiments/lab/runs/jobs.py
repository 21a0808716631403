"""Parallel runs, each in its own process; all can be interrupted and resumed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.lab.runs.parent import bound_to_this
from experiments.lab.runs.progress import progress
from experiments.lab.runs.run_folder import RunFolder, read_lines
from experiments.lab.settings.cli import as_argv
from experiments.lab.settings.config import ADDED, Train, record
from experiments.lab.settings.registry import ROOT, ConfigError

if TYPE_CHECKING:
    from metaplastic import OnlineLearner, TaskStream

    Check = Callable[[Train, TaskStream, OnlineLearner], None]

PARTS = 1000  # of a run, for the bar
META_TRAINING_PARTS = 950  # the rest is evaluation
POLL = 0.5  # seconds
PATIENCE = 10.0  # seconds to wait for a run to end
# Settings in which a finished run may differ from the requested one.
MAY_DIFFER = (
    "steps", "threads", "data", "debug", "resume", "overwrite", "log", "wandb_mode", "runs",
    "max_skipped",
)  # fmt: skip


class RunsFailedError(RuntimeError):
    """Some of several runs failed."""

    def __init__(self, said: str, failed: Sequence[Train]) -> None:
        super().__init__(said)
        self.failed = failed


def run_all(runs: Sequence[Train], jobs: int, title: str, check: Check | None = None) -> None:
    """Complete every run; finished ones are kept, interrupted ones are resumed.

    `check` is called before the first run for every method, with its test stream and its learner,
    and may raise.

    Raises:
        ConfigError: before any run, if a folder holds another run, if a run would be within
            another, for an unknown option, or if a method and its stream are incompatible.
        RunsFailedError: after all runs, if any failed, with the last message of the first.
    """
    _require_apart(runs)
    waiting = [run for run in runs if not _finished(run)]
    require_possible(waiting, check)
    done = len(runs) - len(waiting)
    active: dict[Train, subprocess.Popen[str]] = {}
    failed: list[Train] = []
    try:
        with progress(title, len(runs) * PARTS, done * PARTS, percent=True) as report:
            while waiting or active:
                while waiting and len(active) < jobs:
                    run = waiting.pop(0)
                    active[run] = _start(run, alone=jobs == 1)
                time.sleep(POLL)
                for run, process in list(active.items()):
                    if process.poll() is not None:
                        del active[run]
                        done += 1
                        failed += [run] if process.returncode else []
                so_far = done * PARTS + sum(map(_parts, active))
                report(so_far, ", ".join(run.run_name.rpartition("/")[2] for run in active))
    finally:
        _stop(active.values())
    if failed:
        words = _log(failed[0]).read_text(encoding="utf-8").split("\n")
        last = next((line for line in reversed(words) if line.strip()), "no message")
        raise RunsFailedError(
            f"{len(failed)} of {len(runs)} runs failed, {failed[0].run_name} first: "
            f"{last.removeprefix('error: ')} (see {_log(failed[0])})",
            failed,
        )


def _stop(processes: Collection[subprocess.Popen[str]]) -> None:
    """Terminate the processes and wait for them."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:  # within a long step; a run can be killed at any time
            process.kill()
            process.wait()


def _require_apart(runs: Sequence[Train]) -> None:
    """Raise ConfigError for runs within the folder of another run."""
    above = {run.runs / folder for run in runs for folder in Path(run.run_name).parents}
    for root in sorted(above - {run.runs for run in runs}):
        if RunFolder(root).config.exists():
            raise ConfigError(
                f"{root} is the folder of a single run, and other runs cannot be kept in it: "
                "choose another --name."
            )


def require_possible(runs: Sequence[Train], check: Check | None = None) -> None:
    """Build streams and learner of every method, so that errors are raised before any run."""
    if not runs:
        return  # torch only loads if there is work
    import torch

    from experiments.lab.networks.build import (
        build_rates,
        build_stream,
        given_options,
        require_device,
    )
    from experiments.lab.runs.training import fresh_learner

    known: dict[TaskStream, TaskStream] = {}

    def built(run: Train, split: str) -> TaskStream:
        stream = build_stream(run, split)
        with suppress(TypeError):  # a stream of a user's own may have no hash
            stream = known.setdefault(stream, stream)  # its images are read once for all methods
        stream.spec  # noqa: B018  reads the files
        return stream

    for run in dict.fromkeys(replace(run, seed=0, name=None) for run in runs):
        if not (run.device.startswith("cuda") and torch.cuda.is_available()):
            require_device(run.device)  # a GPU is for the runs alone: to try it takes memory there
        given_options(run)
        train, test = (built(run, split) for split in ("train", "test"))
        try:
            learner = fresh_learner(run, train)
            build_rates(run, train, learner.parameter_groups())
        except ValueError as error:
            raise ConfigError(f"{run.method}: {error}") from error
        if check is not None:
            check(run, test, learner)


def _folder(run: Train) -> RunFolder:
    return RunFolder(run.runs / run.run_name)


def _log(run: Train) -> Path:
    root = _folder(run).root
    return root.with_name(f"{root.name}.log")


def _finished(run: Train) -> bool:
    """Whether the run is finished.

    Raises:
        ConfigError: if the folder holds another run.
    """
    folder = _folder(run)
    if not folder.config.exists():
        return False
    before, now = folder.recorded(), record(run)
    free = MAY_DIFFER if run.minutes is not None else MAY_DIFFER[1:]
    for name, value in now.items():
        if name in ADDED and name not in before:
            continue  # recorded before this setting existed
        if name not in free and before.get(name) != value:
            raise ConfigError(
                f"{folder.root} holds a run with {name} = {before.get(name)!r}, not {value!r}: "
                "choose another --name, or delete that folder."
            )
    return folder.result.exists()


def _start(run: Train, alone: bool) -> subprocess.Popen[str]:
    if not alone and run.threads is None:
        run = replace(run, threads=1)
    folder = _folder(run)
    words = as_argv(run)
    if folder.config.exists():
        words = ["--runs", str(run.runs), "--name", run.run_name, "--resume"]
        words += ["--data", str(run.data)] if run.data is not None else []  # it may have been moved
    log = _log(run)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "experiments.meta_train", *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env=bound_to_this({**os.environ, "PYTHONPATH": os.pathsep.join(paths)}),
        )


def _parts(run: Train) -> int:
    """The progress of a run, by the last line of its metrics."""
    folder = _folder(run)
    if not folder.config.exists():
        return 0
    steps = folder.recorded()["steps"]
    lines = read_lines(folder.metrics)
    return int(META_TRAINING_PARTS * lines[-1]["step"] / steps) if lines else 0
