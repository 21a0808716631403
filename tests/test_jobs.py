"""Runs in processes of their own find what the one that started them found."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from experiments import jobs
from experiments.config import Train


@pytest.mark.parametrize("given", [None, "", "mine", os.pathsep.join(["mine", "yours"])])
def test_a_run_imports_from_where_its_user_does(
    given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[dict[str, str]] = []

    class Popen:
        returncode = 0

        def __init__(self, *_: Any, env: dict[str, str], **__: Any) -> None:
            started.append(env)

        def poll(self) -> int:
            return 0

    monkeypatch.setattr(subprocess, "Popen", Popen)
    monkeypatch.setattr(jobs, "POLL", 0)
    if given is None:
        monkeypatch.delenv("PYTHONPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONPATH", given)
    jobs.run_all([Train(runs=tmp_path)], 1, "one")
    first, *others = started[0]["PYTHONPATH"].split(os.pathsep)
    assert first == str(jobs.ROOT)
    assert others == (given.split(os.pathsep) if given else [])
