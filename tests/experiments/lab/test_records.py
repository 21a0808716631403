"""What a run's folder says of it: what its settings came to, and what became of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from experiments import compare, meta_train
from experiments.lab.networks.build import build_learner, build_stream
from experiments.lab.runs import training
from experiments.lab.runs.run_folder import RunFolder, write_json
from experiments.lab.settings.config import Train
from experiments.lab.settings.registry import method_options
from experiments.lab.settings.resolved import resolved
from metaplastic.files.rule_file import read_config
from metaplastic.outer.divergence import DivergenceError

TINY = ["--preset", "tiny"]


def test_a_run_records_what_its_settings_come_to(tmp_path: Path) -> None:
    words = ["--method", "flp_stable", "--runs", str(tmp_path), "--name", "run"]
    meta_train.main([*TINY, *words])
    run = tmp_path / "run"
    found = json.loads((run / "resolved.json").read_text())
    assert found["train_stream"] == {
        "split": "train", "order": "incremental", "functions": 3, "steps_per_function": 2,
        "batch": 4, "queries_per_function": 4, "seed": 1000,
    }  # fmt: skip
    assert found["test_stream"] == found["train_stream"] | {"split": "test"}
    frozen = read_config(run / "rule")["frozen"]
    tensors = load_file(run / "rule" / "model.safetensors").items()
    learned = sum(tensor.numel() for name, tensor in tensors if name not in frozen)
    assert sum(found["parameters"].values()) == learned
    assert found["rates"].keys() == found["parameters"].keys()
    assert found["options"].keys() == method_options("flp_stable").keys()


def test_options_and_rates_on_the_command_line_are_resolved_over_the_defaults() -> None:
    config = Train(preset="tiny", method="oml", options=("rate=0.5",), rates=("weights=0.25",))
    stream = build_stream(config, "train")
    found = resolved(config, build_learner(config, stream), stream)
    assert found["options"] == {
        "second_order": True, "per": None, "scale": "log", "rate": 0.5, "learn_rate": None,
        "plastic": None, "redraw": True,
    }  # fmt: skip
    assert found["rates"] == {"weights": 0.25, "plasticity": 0.03}


@pytest.mark.filterwarnings("ignore::metaplastic.outer.divergence.DivergenceWarning")
def test_a_run_of_which_nothing_could_be_used_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*TINY, "--runs", str(tmp_path), "--name", "run"]
    meta_train.main([*words, "--loss-limit", "1e-6"])
    said = capsys.readouterr().out
    assert "| 3 of 3 " in said
    assert "No meta-step was used: 3 of 3 diverged" in said
    assert json.loads((tmp_path / "run" / "result.json").read_text())["skipped"] == 3
    with pytest.raises(DivergenceError, match="Stopped after 2 unusable meta-steps in a row"):
        meta_train.main([*words, "--overwrite", "--loss-limit", "1e-6", "--max-skipped", "2"])


def test_a_run_of_before_there_was_a_loss_limit_goes_on_and_is_kept(tmp_path: Path) -> None:
    """The limit is part of what a checkpoint is of, and such a run had none."""
    words = ["--runs", str(tmp_path), "--name", "compare/flp-seed0"]
    meta_train.main([*TINY, *words, "--loss-limit", "None", "--max-skipped", "10"])
    folder = RunFolder(tmp_path / "compare" / "flp-seed0")
    older = {k: v for k, v in folder.recorded().items() if k not in ("loss_limit", "max_skipped")}
    write_json(folder.config, older)
    meta_train.main([*words, "--resume"])
    assert folder.recorded()["loss_limit"] is None
    write_json(folder.config, older)
    finished = folder.result.stat().st_mtime_ns
    compare.main([*TINY, "--methods", "flp", "--seeds", "1", "--runs", str(tmp_path)])
    assert folder.result.stat().st_mtime_ns == finished


def test_a_run_that_goes_on_for_longer_has_no_result_until_it_has_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--runs", str(tmp_path), "--name", "run"]
    meta_train.main([*TINY, *words, "--schedule", "constant"])
    folder = RunFolder(tmp_path / "run")
    assert folder.results()["steps"] == 3

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(training, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            meta_train.main([*words, "--resume", "--steps", "5"])
    assert folder.recorded()["steps"] == 5
    assert not folder.result.exists()
    meta_train.main([*words, "--resume"])
    assert folder.results()["steps"] == 5


def test_lifetimes_that_the_test_cannot_supply_are_refused_before_any_is_run(
    tmp_path: Path,
) -> None:
    words = [*TINY, "--task", "glyphs", "--stream", "ways=500", "--runs", str(tmp_path)]
    with pytest.raises(ValueError, match="ways is 500; this split has 400 classes"):
        meta_train.main([*words, "--name", "run"])
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::metaplastic.outer.divergence.DivergenceWarning")
def test_a_run_that_stopped_at_its_very_first_meta_step_can_go_on(tmp_path: Path) -> None:
    words = ["--runs", str(tmp_path), "--name", "run"]
    with pytest.raises(DivergenceError):
        meta_train.main([*TINY, *words, "--loss-limit", "1e-6", "--on-divergence", "stop"])
    meta_train.main([*words, "--resume", "--on-divergence", "skip"])
    assert RunFolder(tmp_path / "run").results()["skipped"] == 3
