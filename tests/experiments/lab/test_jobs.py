"""Runs in processes of their own find what the one that started them found."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from experiments.lab.runs import jobs
from experiments.lab.runs.run_folder import write_json
from experiments.lab.settings import cli
from experiments.lab.settings.config import Train, record
from experiments.lab.settings.registry import ConfigError
from experiments.meta_train import resumed


class Popen:
    """A process that ends well at once, and the words and surroundings it was started with."""

    started: ClassVar[list[tuple[list[str], dict[str, str]]]] = []
    returncode = 0

    def __init__(self, words: list[str], *, env: dict[str, str], **_: Any) -> None:
        self.started.append((words, env))

    def poll(self) -> int:
        return 0


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    monkeypatch.setattr(Popen, "started", [])
    monkeypatch.setattr(subprocess, "Popen", Popen)
    monkeypatch.setattr(jobs, "POLL", 0)
    return Popen.started


@pytest.mark.parametrize("given", [None, "", "mine", os.pathsep.join(["mine", "yours"])])
def test_a_run_imports_from_where_its_user_does(
    given: str | None,
    started: list[tuple[list[str], dict[str, str]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if given is None:
        monkeypatch.delenv("PYTHONPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONPATH", given)
    jobs.run_all([Train(runs=tmp_path)], 1, "one")
    first, *others = started[0][1]["PYTHONPATH"].split(os.pathsep)
    assert first == str(jobs.ROOT)
    assert others == (given.split(os.pathsep) if given else [])


@pytest.mark.parametrize("name", ["base/flp-seed0", "base/sines/flp-seed0"])
def test_runs_are_not_put_into_the_folder_of_another(
    name: str, started: list[tuple[list[str], dict[str, str]]], tmp_path: Path
) -> None:
    write_json(tmp_path / "config.json", {})  # beside the runs, and none of them
    jobs.run_all([Train(runs=tmp_path, name=name)], 1, "one")
    assert len(started) == 1
    (tmp_path / "base").mkdir(exist_ok=True)
    write_json(tmp_path / "base" / "config.json", record(Train()))
    with pytest.raises(ConfigError, match=r"base is the folder of a single run.*another --name"):
        jobs.run_all([Train(runs=tmp_path, name=name)], 1, "one")
    assert len(started) == 1


@pytest.mark.parametrize("relocated", [True, False])
def test_a_resumed_run_is_given_where_the_data_now_is(
    relocated: bool, started: list[tuple[list[str], dict[str, str]]], tmp_path: Path
) -> None:
    begun = Train(runs=tmp_path, name="run", data=tmp_path / "before")
    (tmp_path / "run").mkdir()
    write_json(tmp_path / "run" / "config.json", record(begun))
    now = tmp_path / "now" if relocated else None
    jobs.run_all([replace(begun, data=now)], 1, "one")
    words = started[0][0][3:]
    assert words == [
        "--runs", str(tmp_path), "--name", "run", "--resume", *(["--data", str(now)] if now else [])
    ]  # fmt: skip
    config = cli.parse(Train, words, Train())
    assert resumed(config, words).data == (now or tmp_path / "before")
