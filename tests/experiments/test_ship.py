"""A learner of the package: what its card says is what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments import meta_train, ship
from experiments.lab.settings.registry import ConfigError
from metaplastic import from_pretrained, shipped

TINY = ("--preset", "tiny", "--threads", "1")
WORDS = ("--about", "A toy.", "--not-for", "Anything.", "--episodes", "2")


@pytest.fixture
def rule(tmp_path: Path) -> Path:
    words = [
        "--task",
        "glyphs",
        "--method",
        "flp_readout",
        "--runs",
        str(tmp_path),
        "--name",
        "run",
    ]
    meta_train.main([*TINY, *words])
    return tmp_path / "run" / "rule"


def test_it_is_found_by_its_name_with_its_card(
    rule: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "learners"
    monkeypatch.setattr("metaplastic.support.catalog.HOME", home)
    ship.main([str(rule), "--name", "toy", *WORDS, "--out", str(home)])
    text = shipped()["toy"]
    assert capsys.readouterr().out == text + "\n"
    assert "A toy." in text
    assert "**Not for**: Anything." in text
    assert "3 meta-steps" in text
    exact = json.loads((tmp_path / "run" / "result.json").read_text())
    assert exact["steps"] == 3
    assert from_pretrained("toy").objective.outputs == 2
    files = {path.name: path.stat().st_size for path in (home / "toy").iterdir()}
    card = files.pop("CARD.md")
    assert card > 0
    assert f"{sum(files.values()):,} bytes" in text


def test_what_is_too_large_or_unnamed_is_not_shipped(
    rule: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="needs --name, a word"):
        ship.main([str(rule), *WORDS])
    monkeypatch.setattr(ship, "LARGEST", 1000)
    with pytest.raises(ConfigError, match="make its network smaller"):
        ship.main([str(rule), "--name", "toy", *WORDS, "--out", str(tmp_path / "learners")])
    assert not (tmp_path / "learners").exists()
