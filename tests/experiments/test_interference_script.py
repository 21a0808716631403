"""Interference from the command line: tables, numbers and figures, rule beside rule."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from experiments import interference, meta_train
from experiments.lab.settings.registry import ConfigError

TINY = ("--preset", "tiny", "--threads", "1")


def test_two_rules_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # With one rate for all layers a step of the rule is one down the gradient.
    for method, options in (("flp_stable", ()), ("scratch", ("--options", "per=shared"))):
        words = ("--method", method, *options, "--runs", str(tmp_path), "--name", method)
        meta_train.main([*TINY, *words])
    capsys.readouterr()
    rules = [str(tmp_path / method / "rule") for method in ("flp_stable", "scratch")]
    interference.main([*rules, "--lifetimes", "2", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert said.startswith((tmp_path / "out" / "table.md").read_text().rstrip("\n"))
    numbers = json.loads((tmp_path / "out" / "interference.json").read_text())["rules"]
    assert list(numbers) == ["flp_stable", "scratch per=shared"]
    for records in numbers.values():
        assert [(r["fraction"], r["update"]) for r in records] == [
            (moment, update) for moment in (0.0, 0.5, 1.0) for update in ("rule", "gradient")
        ]
        steps = len(records[0]["matrix"])
        assert steps == 3 * 2  # three functions of two steps each
        assert records[0]["distance"] == list(range(1 - steps, steps))
    for rule, gradient in zip(
        numbers["scratch per=shared"][::2], numbers["scratch per=shared"][1::2], strict=True
    ):
        assert rule["across"] == pytest.approx(gradient["across"], rel=1e-3, abs=1e-6)
    plotted = {path.name for path in (tmp_path / "out" / "plots").glob("*.png")}
    assert plotted == {"matrices.png", "distances.png"}
    head, _, first, *_ = [line.split("|") for line in said.splitlines() if line.startswith("|")]
    column = [cell.strip() for cell in head].index("other classes, seen")
    assert not first[column].strip()  # no example came before the first one
    known = [
        math.isfinite(float(record["across_seen"])) for record in numbers["scratch per=shared"]
    ]
    assert known == [False] * 2 + [True] * 4


def test_the_rate_scale_is_a_factor_on_every_rate(tmp_path: Path) -> None:
    meta_train.main([*TINY, "--method", "scratch", "--runs", str(tmp_path), "--name", "run"])
    rule, own = str(tmp_path / "run" / "rule"), []
    for scale in ("1", "0.01"):
        words = ["--lifetimes", "1", "--fractions", "0", "--out", str(tmp_path / scale)]
        interference.main([rule, "--rate-scale", scale, *words])
        (records,) = json.loads((tmp_path / scale / "interference.json").read_text())[
            "rules"
        ].values()
        own.append(records[0]["same_example"])
    assert 0 < abs(own[1]) < 0.1 * abs(own[0])  # with the curvature, not 0.01
    with pytest.raises(ConfigError, match="must be above 0"):
        interference.main([rule, "--rate-scale", "0", *words])


def test_estimates_are_called_estimates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    meta_train.main([*TINY, "--method", "scratch", "--runs", str(tmp_path), "--name", "run"])
    rule, said = str(tmp_path / "run" / "rule"), {}
    for tried in ("3", "6"):
        words = ["--lifetimes", "1", "--fractions", "0", "--out", str(tmp_path / tried)]
        capsys.readouterr()
        interference.main([rule, "--exact", tried, *words])
        said[tried] = capsys.readouterr().out
    assert "measured on 3 of 6 updates" in said["3"]
    assert "measured on" not in said["6"]  # every update was tried


def test_rules_of_one_method_keep_their_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    meta_train.main([*TINY, "--runs", "a", "--name", "run"])
    for other in ("b", "c"):
        shutil.copytree("a", other)
    words = ["--lifetimes", "1", "--fractions", "0", "--out", "out"]
    interference.main(["a/run/rule", "b/run/rule", "c/run/rule", *words])
    rules = json.loads(Path("out/interference.json").read_text())["rules"]
    assert list(rules) == ["flp", "flp (b/run/rule)", "flp (c/run/rule)"]
    with pytest.raises(ConfigError, match="twice"):
        interference.main(["a/run/rule", str(tmp_path / "a" / "run" / "rule"), *words])


def test_seeds_of_one_method_share_a_row_and_each_site_has_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in ("0", "1"):
        words = ["--runs", str(tmp_path), "--name", seed, "--seed", seed, "--method", "flp_stable"]
        meta_train.main([*TINY, *words])
    capsys.readouterr()
    rules = [str(tmp_path / seed / "rule") for seed in ("0", "1")]
    out = tmp_path / "out"
    words = ["--fractions", "0.5", "--lifetimes", "2", "--out", str(out)]
    interference.main([*rules, "--over-seeds", "--each-site", *words])
    said = capsys.readouterr().out
    one, other = json.loads((out / "interference.json").read_text())["rules"]["flp_stable"]
    applied = [record["applied"] for record in one if record["update"] == "rule"]
    assert applied == ["all", "2", "4"]  # the last two layers are plastic
    mean = (one[0]["across"] + other[0]["across"]) / 2
    assert "| 0.5      | rule     | all        |" in said
    assert f"{mean:.4f} ± " in said
    assert {"active", "dead", "sparseness", "selectivity"} == set(one[0]["features"])
    assert "| selectivity " in said


def test_what_are_no_seeds_of_one_rule_share_no_row(tmp_path: Path) -> None:
    for functions in ("2", "3"):
        words = ["--runs", str(tmp_path), "--name", functions, "--stream", f"functions={functions}"]
        meta_train.main([*TINY, *words])
    rules = [str(tmp_path / functions / "rule") for functions in ("2", "3")]
    words = ["--fractions", "0", "--lifetimes", "1", "--out", str(tmp_path / "out")]
    with pytest.raises(ConfigError, match="has examples 6, an earlier rule of its method 4"):
        interference.main([*rules, "--over-seeds", *words])


@pytest.mark.filterwarnings("ignore::metaplastic.outer.divergence.DivergenceWarning")
def test_a_rule_that_diverges_is_tabled_and_drawn_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meta_train.main([*TINY, "--runs", str(tmp_path), "--name", "run", "--options", "rate=10"])
    words = ["--lifetimes", "2", "--out", str(tmp_path / "out")]
    interference.main([str(tmp_path / "run" / "rule"), *words])
    assert "| diverged " in capsys.readouterr().out
    assert len(list((tmp_path / "out" / "plots").glob("*.png"))) == 2


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match="no rule was given"):
        interference.main([])
    with pytest.raises(ConfigError, match="from 0 to 1"):
        interference.main(["somewhere", "--fractions", "2"])
