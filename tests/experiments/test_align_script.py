"""Alignment online: what is measured, what is chosen, and the files of a run."""

from __future__ import annotations

import gzip
import json
import math
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import align
from experiments.lab.alignment import following, tuning
from experiments.lab.alignment.config import CANDIDATES, LABELS, Setting, read
from experiments.lab.alignment.report import reached
from experiments.lab.settings.registry import ConfigError
from metaplastic.rules import rule_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Sixty images a part, in files as MNIST's, for both data sets."""
    generator = torch.Generator().manual_seed(0)
    for name in ("fashion_mnist", "mnist"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for part in ("train", "t10k"):
            y = torch.randint(10, (60,), generator=generator)
            x = torch.randint(256, (60, 28, 28), generator=generator)
            pixels = struct.pack(">IIII", 2051, 60, 28, 28) + bytes(x.flatten().tolist())
            labels = struct.pack(">II", 2049, 60) + bytes(y.tolist())
            for kind, content in (("images-idx3", pixels), ("labels-idx1", labels)):
                path = tmp_path / "data" / name / f"{part}-{kind}-ubyte.gz"
                path.write_bytes(gzip.compress(content, 1))
    return tmp_path / "data"


def setting(rule: str, **other: Any) -> Setting:
    given: dict[str, Any] = {
        "network": "mlp", "way": "online", "data_set": "mnist", "examples": 6, "rate": 0.01,
        "every": 2,
    }  # fmt: skip
    return Setting(rule=rule, **{**given, **other})


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_plain_rules_learn_alike_online_and_with_an_optimizer(network: str, root: Path) -> None:
    for rule in ("feedback_alignment", "symmetric_alignment"):
        one = setting(rule, network=network, examples=8, every=8)
        online = following.measured(one, 0, str(root))
        other = following.measured(replace(one, way="optimizer"), 0, str(root))
        assert online["angles"].keys() == other["angles"].keys()
        assert "0" not in online["angles"]  # the first site carries no error back
        # Symmetric alignment sees W before the optimizer's step there, and after it here.
        within = 1e-3 if rule == "feedback_alignment" else 0.5
        assert online["angle"] == pytest.approx(other["angle"], abs=within)


def test_symmetric_alignment_forgets_a_tenth_of_its_start_an_example(root: Path) -> None:
    run = following.measured(setting("symmetric_alignment", rate=0.0), 0, str(root))
    for site, angles in run["angles"].items():
        start, size = math.radians(angles[0]), run["ratios"][site][0]
        for step, degrees in zip(run["steps"], angles, strict=True):
            left = 0.9**step  # B is left B_0 + (1 - left) W
            along, across = left * size * math.cos(start) + 1 - left, left * size * math.sin(start)
            assert degrees == pytest.approx(math.degrees(math.atan2(across, along)), abs=0.01)


def test_feedback_that_stays_keeps_its_angle_where_weights_stay(root: Path) -> None:
    run = following.measured(setting("feedback_alignment", rate=0.0), 0, str(root))
    assert run["steps"] == [0, 2, 4, 6]
    assert len(set(run["angle"])) == 1
    assert run["delta"][0] == run["delta"][1]


def test_a_run_that_diverges_says_when_and_keeps_what_was_measured(root: Path) -> None:
    broken = setting("activation_alignment", options={"rate": 1e20}, examples=40)
    run = following.measured(broken, 0, str(root))
    assert 0 < run["diverged"] <= 40
    assert all(value == value for value in run["angle"])  # not NaN
    assert run["delta"][1] is None
    assert tuning.fails([run])


def test_the_candidates_are_options_of_their_rules() -> None:
    assert set(CANDIDATES) < set(LABELS)
    for rule, candidates in CANDIDATES.items():
        for options in candidates:
            rule_of(rule, options)


def test_reached_is_the_first_moment_after_which_angles_stay_low() -> None:
    steady = {"steps": [0, 10, 20, 30], "angle": [90.0, 15.0, 25.0, 10.0]}
    assert reached([steady]) == "30.0"
    assert reached([steady, {**steady, "angle": [90.0, 80.0, 70.0, 60.0]}]) == "30.0 (1 of 2)"
    assert reached([{**steady, "angle": [90.0] * 4}]) == "never"


def test_the_command_writes_a_table_numbers_and_a_figure_and_keeps_finished_runs(
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    words = [
        "--preset", "tiny", "--data", str(root), "--out", str(out), "--networks", "mlp", "--tune",
        "--rules", "kolen_pollack", "feedback_alignment", "--examples", "4", "--every", "2",
    ]  # fmt: skip
    align.main(words)
    said = capsys.readouterr().out
    assert said.startswith((out / "table.md").read_text().rstrip("\n"))
    assert "Kolen-Pollack (decay 0.03)" in said  # four examples are too few for the default
    assert "Kolen-Pollack (weights decay, too)" in said
    assert (out / "alignment_online.png").stat().st_size > 10_000
    numbers = json.loads((out / "results.json").read_text())
    assert numbers["tried"]["kolen_pollack mlp"][0]["options"] == {"decay": 0.03}
    monkeypatch.setattr(following, "measured", None)  # nothing is left to measure
    align.main(words)
    assert json.loads((out / "results.json").read_text())["runs"] == numbers["runs"]
    with pytest.raises(ConfigError, match="of other settings"):
        align.main([*words, "--every", "4"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--rules", "weight_miror"], "'weight_miror' is not a rule of this command"),
        (["--networks", "cnn"], "'cnn' is not a network"),
        (["--every", "7"], "--every is 7: it must divide --examples, which is 1000"),
        (["--rate", "-1"], "--rate is -1.0"),
    ],
)
def test_what_no_run_can_have_is_one_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        read(words)
