"""Deep networks by named rules: runs that can be cut anywhere, images, tables and sentences."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import deep
from experiments.lab.deep_training import runs
from experiments.lab.deep_training.config import MORE, RULES, Deep
from experiments.lab.deep_training.trainer import Settings, Trainer
from experiments.lab.deep_training.tuning import best
from experiments.lab.settings import cli
from experiments.lab.settings.registry import ConfigError
from tests.helpers.deep_data import write_subset

EVERY_RULE = (*RULES, *MORE)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_subset(tmp_path / "data")


def words(root: Path, out: Path, *more: str) -> list[str]:
    """A narrow network and two minibatches an epoch."""
    return [
        "--data", str(root), "--out", str(out), "--width", "8", "--batch", "10", "--lr", "0.05",
        "--epochs", "2", "--angles-every", "3", "--flip-crop", *more,
    ]  # fmt: skip


def settings(root: Path, out: Path, rule: str, *more: str) -> Settings:
    config = cli.parse(Deep, words(root, out, *more), Deep())
    return deep.settings_for(config, rule, 0, 0.05, config.epochs)


def timeless(result: dict[str, Any]) -> dict[str, Any]:
    """A result without what differs from one time to the next."""
    epochs = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in result["epochs"]]
    return {**result, "epochs": epochs, "minutes": 0}


@pytest.mark.parametrize(
    ("rule", "precision"),
    [
        ("kolen_pollack", "float32"), ("information_alignment", "bfloat16"),
        ("batchwise_random_sign", "float32"), ("direct_feedback_alignment", "bfloat16"),
    ],
)  # fmt: skip
def test_a_run_that_was_cut_is_the_uninterrupted_one_to_the_bit(
    rule: str, precision: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(root, tmp_path, rule, "--precision", precision, "--epochs", "3")
    whole = runs.train_run(config, tmp_path / "whole", str(root), lambda _: None)
    epoch = Trainer.epoch

    def killed(trainer: Trainer) -> None:
        if len(trainer.epochs) == 2:
            raise KeyboardInterrupt
        epoch(trainer)

    monkeypatch.setattr(Trainer, "epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        runs.train_run(config, tmp_path / "cut", str(root), lambda _: None)
    monkeypatch.setattr(Trainer, "epoch", epoch)
    torch.manual_seed(77)  # whatever the process has drawn before
    cut = runs.train_run(config, tmp_path / "cut", str(root), lambda _: None)
    assert timeless(cut) == timeless(whole)
    one, other = (
        torch.load(tmp_path / name / runs.CHECKPOINT, weights_only=True)
        for name in ("cut", "whole")
    )
    for part in ("model", "credit"):
        assert one[part].keys() == other[part].keys()
        assert all(torch.equal(value, other[part][name]) for name, value in one[part].items())
    assert (tmp_path / "cut" / runs.ANGLES).read_text() == (
        tmp_path / "whole" / runs.ANGLES
    ).read_text()


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_every_rule_trains_and_is_looked_at_at_both_ends(
    rule: str, root: Path, tmp_path: Path
) -> None:
    config = settings(root, tmp_path, rule, "--epochs", "1")
    found = runs.train_run(config, tmp_path / "run", str(root), lambda _: None)
    assert not found["diverged"]
    assert sorted({row["step"] for row in found["angles"]}) == [0, 2]
    sites = {row["site"] for row in found["angles"]}
    assert len(found["angles"]) == 2 * len(sites) == 2 * 22
    exact = [row["delta"] == 0 for row in found["angles"]]
    assert all(exact) if rule == "backprop" else sum(exact) == 2  # the last site hears the error


def test_the_command_keeps_what_is_finished_and_chooses_on_held_out_images(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    line = words(root, out, "--rules", "backprop", "uniform_sign", "--seeds", "2", "--epochs", "1")
    at = line.index("--lr")
    line[at : at + 2] = ["--lrs", "0.01", "0.05"]
    deep.main(line)
    said = capsys.readouterr().out
    assert said.startswith((out / "table.md").read_text().rstrip("\n"))
    assert "CIFAR-10, 8,336-image subset" in said
    numbers = json.loads((out / "results.json").read_text())
    assert set(numbers["rates"]) == {"backprop", "uniform_sign"}
    for rule, held_out in numbers["held_out"].items():
        assert numbers["rates"][rule] == best({float(k): v for k, v in held_out.items()})
        tuning = json.loads((out / "tuning" / rule / "0.01" / "result.json").read_text())
        assert tuning["settings"]["held_out"] == 0.2
        assert [run["settings"]["seed"] for run in numbers["runs"][rule]] == [0, 1]
    plotted = {path.name for path in (out / "plots").glob("*.png")}
    assert plotted == {"accuracy.png", "delta.png", "weight.png"}
    monkeypatch.setattr(Trainer, "epoch", None)  # no epoch is left
    deep.main(line)
    assert json.loads((out / "results.json").read_text())["runs"] == numbers["runs"]
    other = [*words(root, tmp_path / "other", "--rules", "adam"), "--report-only"]
    with pytest.raises(ConfigError, match="'adam' is not a rule of this script"):
        deep.main(other)
    with pytest.raises(ConfigError, match=r"seed-0 holds a run with epochs 1, and 2 is requested"):
        deep.main([*line, "--epochs", "2"])
    assert deep.chosen(
        Deep(rates_of=out, rules=("uniform_sign",)), "uniform_sign", lambda _: None
    ) == pytest.approx(numbers["rates"]["uniform_sign"])


def test_minutes_are_turned_into_epochs_once(root: Path, tmp_path: Path) -> None:
    config = settings(root, tmp_path, "backprop")
    few = runs.epochs_in(config, tmp_path / "run", str(root), 1e-6)
    many = runs.epochs_in(config, tmp_path / "run", str(root), 2.0)
    assert few == 1 < many
    runs.train_run(config, tmp_path / "run", str(root), lambda _: None)
    assert runs.epochs_in(config, tmp_path / "run", str(root), 2.0) == 2
    (tmp_path / "run" / runs.RESULT).unlink()
    assert runs.epochs_in(config, tmp_path / "run", str(root), 2.0) == 2


def test_a_run_that_diverges_ends_and_is_reported(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    deep.main([*words(root, out, "--rules", "feedback_alignment", "--lr", "1e30")])
    assert "1, 1 diverged" in capsys.readouterr().out
    found = json.loads((out / "feedback_alignment" / "seed-0" / "result.json").read_text())
    assert found["diverged"]
    assert len(found["epochs"]) == 1


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--rules", "kolen_polack"], "'kolen_polack' is not a rule of this script: did you mean"),
        (["--rules", "backprop", "backprop"], "a rule was given twice: name each once."),
        (["--epochs", "0"], "--epochs is 0: it must be at least 1."),
        (["--angles-every", "0"], "--angles-every is 0: it must be at least 1."),
        (["--minutes", "-1"], "--minutes is -1: it must be above 0 and finite."),
        (["--lrs", "0"], "0 is not a rate: it must be above 0 and finite."),
        (["--rates-of", "x"], "--lr and --rates-of both set the rates: omit one."),
        (["--report-only"], "holds no finished run of these rules: train first."),
        (["--network", "resnet19"], "Expected one of"),
    ],
)
def test_a_wrong_word_is_one_sentence(
    more: list[str], sentence: str, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        deep.main(words(root, tmp_path / "out", *more))


def test_a_damaged_checkpoint_and_rates_that_are_not_there_are_reported(
    root: Path, tmp_path: Path
) -> None:
    config = settings(root, tmp_path, "backprop")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / runs.CHECKPOINT).write_bytes(b"half a file")
    with pytest.raises(ConfigError, match=r"cannot be read .*: delete it to begin this run again"):
        runs.train_run(config, tmp_path / "run", str(root), lambda _: None)
    config = Deep(rates_of=tmp_path)
    with pytest.raises(ConfigError, match="name the --out folder of a finished command"):
        deep.chosen(config, "backprop", lambda _: None)
    (tmp_path / "results.json").write_text('{"rates": {"uniform_sign": 0.1}}')
    with pytest.raises(ConfigError, match="has no rate of 'backprop'"):
        deep.chosen(config, "backprop", lambda _: None)
