"""A search that processes share is the search of one, to the bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.discover import main
from experiments.lab.settings.registry import ConfigError

ROOT = Path(__file__).parents[4]


def test_two_processes_find_the_rule_of_one(tmp_path: Path) -> None:
    script = "tests.experiments.lab.evolution.two_processes"
    command = [sys.executable, "-m", script, str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300, capture_output=True)
    one, two = tmp_path / "1", tmp_path / "2"
    assert json.loads((one / "search.json").read_text())["generation"] == 3
    for name in ("search.json", "generations.jsonl", "rule/model.safetensors"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    founds = [json.loads((folder / "found.json").read_text()) for folder in (one, two)]
    assert all(found.pop("remark") for found in founds)
    assert founds[0] == founds[1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--shares", "5"], "does not divide the 12 mutants"),
        (["--generations", "-1"], "at least 0"),
        (["--estimators", "--lengths", "51"], "no multiple of --segments 5"),
        (["--estimators", "--estimates", "1"], "--estimates is 1; it is at least 2"),
        (["--estimators", "--rates", "-1"], "above 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(words: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        main(["--by", "evolution", *words])
