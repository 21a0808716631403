"""`meta_test` evaluates the rule it was given, on the stream that was named, and says where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments import meta_test, meta_train
from experiments.lab.settings.config import over_recorded
from experiments.lab.settings.registry import ConfigError


@pytest.fixture(scope="module")
def rule(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    words = ["--preset", "tiny", "--task", "glyphs", "--method", "flp_readout", "--name", "run"]
    meta_train.main([*words, "--runs", str(runs), "--stream", "shots=1"])
    return runs / "run" / "rule"


def test_another_preset_is_of_the_rules_own_task(rule: Path, tmp_path: Path) -> None:
    words = ["--preset", "laptop", "--episodes", "2", "--out", str(tmp_path)]
    meta_test.main([str(rule), *words])
    settings = json.loads((tmp_path / "result.json").read_text())["settings"]
    assert (settings["preset"], settings["task"]) == ("laptop", "glyphs")
    assert settings["stream"] == ["shots=1"]
    result = json.loads((tmp_path / "result.json").read_text())
    assert len(result["final"]) == 5  # ways of a laptop's tests
    source = {"settings": {"preset": "tiny", "task": "glyphs", "order": "incremental"}}
    assert over_recorded(meta_test.Test, [str(rule)], source, rule).episodes == 4
    assert over_recorded(meta_test.Test, ["--preset=laptop"], source, rule).episodes == 500


def test_earlier_results_are_not_replaced_without_a_word(
    rule: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(rule), "--episodes", "2", "--out", str(tmp_path / "out")]
    meta_test.main(words)
    assert "replaced" not in capsys.readouterr().out
    meta_test.main([*words, "--stream", "ways=3"])
    said = capsys.readouterr().out
    assert said.startswith(f"The earlier results in {tmp_path / 'out'} will be replaced; --out")


def test_one_lifetime_has_no_interval(
    rule: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meta_test.main([str(rule), "--episodes", "1", "--out", str(tmp_path)])
    assert capsys.readouterr().out.endswith(f"No interval over one lifetime; see {tmp_path}.\n")
    result = {"interval": [0.25, 0.5], "episodes": 7}
    assert meta_test.spread(result) == "95 % interval over 7 lifetimes: 0.2500 to 0.5000"


def test_a_test_of_nothing_says_that_no_rule_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"no rule was given.*name a folder that holds a config"):
        meta_test.main([])


def test_results_of_a_learner_of_the_package_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--task", "glyphs", "--preset", "tiny", "--episodes", "2"]
    meta_test.main(["omniglot_readout", *words])
    assert (tmp_path / "test" / "result.json").exists()
    assert f"see {tmp_path.resolve() / 'test'}." in capsys.readouterr().out
