"""The examples run as they stand, each in under 40 lines."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ARGUMENTS = {
    "resnet_by_rule": ["uniform_sign", "40"], "learn_online": [], "own_rule": ["3"],
    "meta_train_any_network": ["3"], "avalanche_benchmark": [],
}  # fmt: skip
SAYS = {
    "resnet_by_rule": "accuracy", "learn_online": "20 characters", "own_rule": "ten sines",
    "meta_train_any_network": "in a transformer layer",
    "avalanche_benchmark": "with replay: accuracy",
}  # fmt: skip

NEEDS = {"avalanche_benchmark": "avalanche"}  # besides the library and the lab
SLOW = {"avalanche_benchmark": pytest.mark.slow}  # to import


def test_every_example_is_run_here() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(ARGUMENTS)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=SLOW.get(name, ())) for name in ARGUMENTS]
)
def test_an_example_runs_and_is_short(name: str) -> None:
    if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
        if "METAPLASTIC_NEED_PEERS" in os.environ:
            pytest.fail(f"{NEEDS[name]} is not installed, and METAPLASTIC_NEED_PEERS asks for it")
        pytest.skip(f"{NEEDS[name]} is not installed")
    path = ROOT / "examples" / f"{name}.py"
    assert len(path.read_text().splitlines()) < 40
    done = subprocess.run(
        [sys.executable, path, *ARGUMENTS[name]],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert SAYS[name] in done.stdout.splitlines()[-1]
