"""BatchNorm online: pretraining, what is learned after it, and the files of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from experiments import norms
from experiments.lab.deep_training.images import load_images
from experiments.lab.norms import learning
from experiments.lab.norms.config import NEW, OLD, read, setting
from experiments.lab.settings.registry import ConfigError
from tests.helpers.deep_data import write_subset


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_subset(tmp_path / "data")


def words(root: Path, out: Path, *more: str) -> list[str]:
    return ["--preset", "tiny", "--data", str(root), "--out", str(out), "--width", "4", *more]


def test_old_and_new_classes_are_apart_and_held_out_images_are_of_the_training(root: Path) -> None:
    data = load_images("exact", str(root))
    (x, y), (test_x, test_y) = learning.images(data, NEW)
    assert len(x) == int((data.y >= 5).sum())
    assert len(test_x) == int((data.test_y >= 5).sum())
    assert set(y.tolist()) | set(test_y.tolist()) <= set(range(5))
    (kept, _), (held, _) = learning.images(data, NEW, held_out=True)
    assert torch.equal(torch.cat([kept, held]), x)
    (old, _), _ = learning.images(data, OLD)
    assert len(old) + len(x) == len(data.x)


def test_stored_statistics_stay_and_own_ones_move(root: Path, tmp_path: Path) -> None:
    config = read(words(root, tmp_path))
    data = load_images("exact", str(root))
    for choice, stays in (("stored", True), ("own", False)):
        one = setting(config, "random", "backprop", choice, 0.01, held_out=False)  # type: ignore[arg-type]
        run = learning.measured(one, 0, str(root), tmp_path)
        assert run["diverged"] is None
        assert (run["alone"] is None) is stays
    model, _ = learning.started(one, 0, data, tmp_path)
    before = {name: value.clone() for name, value in model.named_buffers()}
    learning.alone(model, data.standardized(data.test_x), data.test_y)
    learning.accuracy(model, data.standardized(data.test_x), data.test_y)
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())


def test_the_command_writes_a_table_and_keeps_finished_runs(
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    line = words(root, out, "--rules", "backprop", "--norms", "stored", "own")
    norms.main(line)
    said = capsys.readouterr().out
    assert said.startswith((out / "table.md").read_text().rstrip("\n"))
    numbers = json.loads((out / "results.json").read_text())
    assert [(row["start"], row["norms"]) for row in numbers["table"]] == [
        ("pretrained", "stored"), ("pretrained", "own"), ("random", "stored"), ("random", "own"),
    ]  # fmt: skip
    for cell in numbers["runs"]:
        held_out = numbers["held_out"][
            f"{cell['settings']['start']} backprop {cell['settings']['norms']}"
        ]
        best = max(held_out.values())
        assert held_out[f"{cell['settings']['rate']:g}"] == best
        assert [run["seed"] for run in cell["runs"]] == [0, 1]
    monkeypatch.setattr(learning, "measured", None)  # nothing is left to measure
    norms.main(line)
    assert json.loads((out / "results.json").read_text())["runs"] == numbers["runs"]


def test_what_no_run_can_have_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="--width is below 1"):
        read(["--width", "0"])
    with pytest.raises(ConfigError, match="--rates is"):
        read(["--rates", "0"])
