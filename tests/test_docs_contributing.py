"""The files that CONTRIBUTING.md shows work as they stand there, in a copy of the repository."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
FILES = {block.partition("\n")[0].removeprefix("# "): block for block in BLOCKS}
COMMANDS = re.findall(r"^python -m .*$", TEXT, re.MULTILINE)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages, with the files of the page in their places."""
    root = tmp_path_factory.mktemp("clone")
    for package in ("metaplastic", "tasks", "experiments"):
        skip = shutil.ignore_patterns("__pycache__", "results")
        shutil.copytree(ROOT / package, root / package, ignore=skip)
    for name, block in FILES.items():
        if name.endswith(".py"):
            assert not (root / name).exists(), f"{name} is there already; rename the example."
            (root / name).write_text(block.partition("\n")[2], encoding="utf-8")
    return root


def run(clone: Path, words: list[str]) -> str:
    environment = {**os.environ, "PYTHONPATH": str(clone), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=clone, env=environment, check=False, timeout=300,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_rule_a_stream_and_a_baseline_are_one_file_each() -> None:
    files = [Path(name).parent.as_posix() for name in FILES if name.endswith(".py")]
    assert files == ["metaplastic/rules", "tasks", "experiments/methods"]
    assert max(len(block.splitlines()) for block in BLOCKS) < 80


def test_the_rule_has_a_name_and_learns(clone: Path) -> None:
    asserted = "\nassert metaplastic.rules()['mixed_feedback']().parts[0] == 'Mixture'\n"
    assert "An example" in run(clone, ["-c", FILES["use it"] + asserted])


@pytest.mark.slow
def test_the_stream_and_the_baseline_are_run_by_the_commands_beside_them(clone: Path) -> None:
    assert len(COMMANDS) == 2
    for command in COMMANDS:
        run(clone, shlex.split(command.removeprefix("python ")))
    result = json.loads((clone / "runs" / "ramps" / "result.json").read_text("utf-8"))
    assert len(result["final"]) == 2
    assert list((clone / "runs" / "baselines").rglob("result.json"))


@pytest.mark.slow
def test_the_files_pass_the_checks_of_style_and_types(clone: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", clone)
    names = [name for name in FILES if name.endswith(".py")]
    run(clone, ["-m", "ruff", "check", *names])
    run(clone, ["-m", "ruff", "format", "--check", *names])
    run(clone, ["-m", "mypy", *names])


def test_make_targets_and_links_of_the_page_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", TEXT, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", TEXT):
        assert (ROOT / link).exists(), link
    for path in re.findall(r"`((?:metaplastic|tests|tasks|experiments)/[\w/.]*)`", TEXT):
        assert (ROOT / path).exists(), path
