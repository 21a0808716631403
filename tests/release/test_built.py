"""Wheel and source archive hold what they should, and work with the core dependencies alone."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.release import core_only, smoke

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    for package in ("build", "hatchling"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed, and fetching it would need a network.")
    return smoke.build(tmp_path_factory.mktemp("dist"))


@pytest.mark.slow
def test_wheel_and_archive_hold_the_library_and_its_learners(built: tuple[Path, Path]) -> None:
    wheel, archive = built
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(archive) as file:
        in_archive = {name.partition("/")[2] for name in file.getnames()}
    for path in (ROOT / "metaplastic").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            name = path.relative_to(ROOT).as_posix()
            assert name in in_wheel
            assert name in in_archive
    assert {"LICENSE", "README.md", "pyproject.toml"} <= in_archive
    assert not [name for name in in_archive if name.startswith(("site/", "runs/", ".venv/"))]


@pytest.mark.slow
def test_each_works_alone(built: tuple[Path, Path], tmp_path: Path) -> None:
    for package in built:
        assert "works alone" in smoke.alone(package, tmp_path)


def test_what_the_core_needs_is_read_from_the_metadata() -> None:
    allowed = core_only.needed(core_only.CORE)
    assert {"torch", "numpy", "safetensors", "sympy", "jinja2"} <= allowed
    assert not allowed & {"matplotlib", "tyro", "transformers", "pytest", "PIL"}


def test_a_process_with_the_core_alone_finds_nothing_else() -> None:
    script = (
        "import sys, runpy; kept = runpy.run_path(sys.argv[1]);"
        "sys.meta_path[:] = [kept['OnlyCore'](list(sys.meta_path))];"
        "import json, numpy;"
        "import pytest"
    )
    words = [sys.executable, "-I", "-c", script, str(smoke.SCRIPT)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "ModuleNotFoundError: No module named 'pytest'" in done.stderr


def test_what_fails_is_said_in_place_of_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(smoke.SmokeError, match="Trying failed:\nno such thing"):
        smoke.run([sys.executable, "-c", "raise SystemExit('no such thing')"], "Trying")
    assert not capsys.readouterr().out
