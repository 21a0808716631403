"""When hidden plasticity pays: paired differences, files, and what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments import when_plastic
from experiments.lab.hidden_plasticity import runs
from experiments.lab.hidden_plasticity.config import LEARNERS, TITLES, read, setting
from experiments.lab.hidden_plasticity.report import gain
from experiments.lab.settings.registry import ConfigError


def test_differences_are_paired_by_lifetime_and_seed() -> None:
    reference = [
        {"accuracy": {"0.5": [10.0, 50.0, 90.0]}},
        {"accuracy": {"0.5": [0.0, 50.0, 100.0]}},
    ]
    better = [
        {"accuracy": {"0.5": [value + 3 + seed for value in run["accuracy"]["0.5"]]}}
        for seed, run in enumerate(reference)
    ]
    found = gain(better, reference, 0.5)
    # The lifetimes differ by up to 100 points, their differences not at all.
    assert (found.mean, found.low, found.high) == pytest.approx((3.5, 3.5, 3.5))
    with pytest.raises(ValueError, match="longer"):
        gain(better[:1], reference, 0.5)


def test_learners_are_tested_on_the_same_lifetimes_and_trained_on_others() -> None:
    config = read(["--preset", "tiny", "--stream", "ways=3"])
    one, other = (setting(config, "drift", method) for method in ("readout", "sbmcl"))
    same = [
        runs.stream(each, "test", 0.5, None).sample(2, torch.Generator().manual_seed(0)).query_x
        for each in (one, other)
    ]
    assert torch.equal(*same)
    train, test = (runs.stream(one, split, 1.0, None) for split in ("train", "test"))
    assert train.spec.fingerprint != test.spec.fingerprint
    not_met = runs.measured(replace(one, met=False), 0, None)
    assert not_met["accuracy"].keys() == {"0", "1"}


def test_all_layers_are_counted_for_the_network_of_the_stream() -> None:
    config = read(["--preset", "tiny", "--base", "glyphs", "--stream", "ways=2", "shots=1"])
    one = setting(config, "contrast", "hidden")
    _, learner = runs.fresh(one, 0, runs.stream(one, "train", 1.0, None))
    assert len(learner.sites) == 4  # two convolutions, a hidden layer and the readout
    _, readout = runs.fresh(
        setting(config, "contrast", "readout"), 0, runs.stream(one, "train", 1.0, None)
    )
    assert len(readout.sites) == 1


def test_the_command_writes_table_and_figure_and_keeps_finished_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["--preset", "tiny", "--out", str(tmp_path), "--changes", "mixing", "classes"]
    when_plastic.main(line)
    said = capsys.readouterr().out
    assert said.startswith((tmp_path / "table.md").read_text().rstrip("\n"))
    assert all(TITLES[name] in said for name in ("readout", "hidden", "sbmcl"))
    assert (tmp_path / "gain.png").stat().st_size > 1000
    numbers = json.loads((tmp_path / "results.json").read_text())
    files = sorted((tmp_path / "runs" / "clusters-mixing").rglob("seed-*.json"))
    assert len(files) == 6
    by_method = {file.parent.name: [] for file in files}  # type: ignore[var-annotated]
    for file in files:
        by_method[file.parent.name].append(json.loads(file.read_text())["accuracy"]["1"])
    hidden, readout = (
        np.array(by_method[LEARNERS[name].replace("=", "_").replace(",", "-")])
        for name in ("hidden", "readout")
    )
    mean = (hidden - readout).mean()
    assert numbers["gains"]["mixing"]["hidden"][1]["mean"] == pytest.approx(mean)
    monkeypatch.setattr(runs, "measured", None)  # nothing is left to measure
    when_plastic.main(line)
    assert json.loads((tmp_path / "results.json").read_text())["gains"] == numbers["gains"]
    with pytest.raises(ConfigError, match="is of other settings: choose another --out"):
        when_plastic.main([*line, "--steps", "3"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--learners", "readout"], "--learners is readout: give two or more, each once"),
        (["--learners", "readout", "flpp"], "'flpp' is not a method: did you mean 'flp'"),
        (["--strengths", "0", "2"], "--strengths is .* each from 0 to 1"),
        (["--strengths", "1", "0"], "--strengths is .* in increasing order"),
        (["--base", "changed_inputs"], "--base is changed_inputs itself"),
        (
            ["--base", "sines", "--stream", "functions=2"],
            "--base sines has real targets: name a stream of classes",
        ),
        (["--base", "cluster"], "'cluster' is not a task: did you mean 'clusters'"),
        (["--stream", "way=2"], "'way' is not an option of task 'clusters': did you mean 'ways'"),
        (["--stream", "ways"], "--stream got 'ways': write each option as name=value"),
        (["--learners", "readout", "oml,plastic=9"], "plastic is 9, but the network has"),
        (["--episodes", "1"], "--episodes is 1: an interval needs at least two"),
    ],
)
def test_what_no_comparison_can_be_is_one_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        when_plastic.main(["--preset", "tiny", "--out", "nowhere", *words])
    assert not Path("nowhere").exists()


def test_the_code_of_the_page_runs() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "when_plastic.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    found: dict[str, Any] = {}
    exec(block, found)
    found["stream"].spec.check(found["episode"])
