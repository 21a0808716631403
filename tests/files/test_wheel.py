"""The wheel is the instrument, the clone is the lab."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import metaplastic

ROOT = Path(__file__).resolve().parents[2]


def test_the_wheel_holds_the_library_and_nothing_else(tmp_path: Path) -> None:
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed, and fetching it would need a network")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(ROOT)], check=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.split("-")[:2] == ["metaplastic", metaplastic.__version__]
    names = zipfile.ZipFile(wheel).namelist()
    outside = [n for n in names if not n.startswith(("metaplastic/", "metaplastic-"))]
    assert not outside
    assert "metaplastic/py.typed" in names
    assert {f"metaplastic/{path.name}" for path in (ROOT / "metaplastic").glob("*.py")} <= {*names}
    assert any(name.endswith("licenses/LICENSE") for name in names)
