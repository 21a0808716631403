"""The scripts do what they say, from the command line to the last file, at a size of seconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from experiments import compare, demo, meta_test, meta_train
from experiments.lab.runs.run_folder import RunFolder, read_lines
from experiments.lab.settings.registry import ConfigError, methods
from metaplastic.outer.checkpoint import CheckpointError
from metaplastic.outer.loggers import TIMINGS

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--preset", "tiny"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    meta_train.main([*TINY, "--runs", str(runs), "--name", "run", "--method", "flp_stable"])
    return runs / "run"


def test_a_run_leaves_its_record_its_plots_and_its_rule(run: Path) -> None:
    left = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert left >= {
        "config.json",
        "environment.json",
        "resolved.json",
        "metrics.jsonl",
        "result.json",
        "lifetimes.json",
        "lifetimes.csv",
        "rule/config.json",
        "rule/model.safetensors",
        "plots/training_loss.png",
        "plots/rule.png",
        "plots/test_seen.png",
        "plots/test_examples.png",
    }
    assert [line["step"] for line in read_lines(run / "metrics.jsonl")] == [1, 2, 3]


def test_a_rule_remembers_where_it_comes_from(run: Path) -> None:
    source = json.loads((run / "rule" / "config.json").read_text())["provenance"]
    assert source["settings"]["task"] == "sines"
    assert source["seed"] == 0
    assert len(source["data_fingerprint"]) == 64


def test_testing_a_rule_gives_what_its_run_was_given(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meta_test.main([str(run / "rule"), "--episodes", "4"])
    tested = json.loads((run / "test" / "result.json").read_text())
    recorded = json.loads((run / "result.json").read_text())
    assert tested["score"] == recorded["score"]
    assert f"{recorded['score']:.4f}" in capsys.readouterr().out


def test_a_rule_is_not_tried_on_a_stream_it_does_not_fit(run: Path) -> None:
    with pytest.raises(ConfigError, match=r"input_shape = \[4\], but this stream has \[11\]"):
        meta_test.main([str(run / "rule"), "--task", "sines"])


OF_CLASSES = ("flp_on_frozen", "prototypes", "prototypes_cosine", "pretrained_readout", "sbmcl")


@pytest.mark.parametrize("task", ["sines", "glyphs"])
@pytest.mark.parametrize("method", sorted(methods()))
def test_every_method_runs_on_every_kind_of_stream(
    method: str, task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--task", task, "--method", method, "--name", "run", "--steps", "1"]
    if task == "sines" and method in OF_CLASSES:
        with pytest.raises(
            ConfigError, match="is for classification, and task 'sines' is regression"
        ):
            meta_train.main([*TINY, *words, "--runs", str(tmp_path)])
        return
    meta_train.main([*TINY, *words, "--runs", str(tmp_path)])
    assert method in capsys.readouterr().out


def test_minutes_become_a_number_of_meta_steps_that_is_recorded(tmp_path: Path) -> None:
    meta_train.main([*TINY, "--minutes", "0.005", "--name", "run", "--runs", str(tmp_path)])
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["minutes"] == 0.005
    assert read_lines(tmp_path / "run" / "metrics.jsonl")[-1]["step"] == config["steps"]


def test_a_run_goes_on_only_with_its_own_settings(run: Path) -> None:
    words = [*TINY, "--runs", str(run.parent), "--name", "run", "--resume"]
    with pytest.raises(ConfigError, match=r"--tasks is 3, but .* was started with 2"):
        meta_train.main([*words, "--tasks", "3"])


@pytest.mark.parametrize("words", [["--options", "speed=9"], ["--log", "wandb"]], ids=" ".join)
def test_a_run_is_only_replaced_by_one_that_can_start(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # not installed
    RunFolder(tmp_path / "run").start({})
    with pytest.raises(ConfigError):
        meta_train.main([*TINY, "--runs", str(tmp_path), "--name", "run", "--overwrite", *words])
    assert RunFolder(tmp_path / "run").recorded() == {}


def test_a_run_that_cannot_be_resumed_is_left_as_it_was(tmp_path: Path) -> None:
    words = ["--runs", str(tmp_path), "--name", "run"]
    meta_train.main([*TINY, *words])
    before = (tmp_path / "run" / "config.json").read_bytes()
    with pytest.raises(CheckpointError):  # the rates would have followed a longer cosine
        meta_train.main([*words, "--resume", "--steps", "9"])
    assert (tmp_path / "run" / "config.json").read_bytes() == before
    meta_train.main([*words, "--resume"])


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    words = [*TINY, "--steps", "60", "--runs", str(tmp_path), "--method", "flp_stable"]
    meta_train.main([*words, "--name", "whole"])
    command = [sys.executable, "-m", "experiments.meta_train", *words, "--name", "killed"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    killed = tmp_path / "killed"
    while not (lines := read_lines(killed / "metrics.jsonl")) or lines[-1]["step"] < 5:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "rule").exists(), "the run ended before it could be killed"

    meta_train.main(["--runs", str(tmp_path), "--name", "killed", "--resume"])
    whole, again = (
        load_file(tmp_path / name / "rule" / "model.safetensors") for name in ("whole", "killed")
    )
    assert whole.keys() == again.keys()
    assert all(whole[name].equal(again[name]) for name in whole)
    first, second = (read_lines(tmp_path / n / "metrics.jsonl") for n in ("whole", "killed"))
    assert _untimed(first) == _untimed(second)


def _untimed(lines: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{key: line[key] for key in line.keys() - set(TIMINGS)} for line in lines]


def test_a_comparison_keeps_what_is_finished_and_refuses_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*TINY, "--methods", "flp_stable", "oml,rate=0.02", "--seeds", "1", "--jobs", "2"]
    compare.main([*words, "--runs", str(tmp_path)])
    table = capsys.readouterr().out
    assert "| flp_stable " in table
    assert "| oml,rate=0.02 " in table
    root = tmp_path / "compare"
    assert "| error over those seen, after | 1 " in table
    assert (root / "table.md").read_text() == table.partition("\n\nPlots")[0] + "\n"
    finished = (root / "flp_stable-seed0" / "result.json").stat().st_mtime_ns
    compare.main([*words, "--runs", str(tmp_path)])
    assert (root / "flp_stable-seed0" / "result.json").stat().st_mtime_ns == finished
    assert capsys.readouterr().out == table
    with pytest.raises(ConfigError, match="holds a run with steps = 3, not 4"):
        compare.main([*words, "--runs", str(tmp_path), "--steps", "4"])


def test_a_run_that_fails_in_a_comparison_is_quoted(tmp_path: Path) -> None:
    words = [*TINY, "--methods", "flp", "--seeds", "1", "--runs", str(tmp_path)]
    with pytest.raises(RuntimeError, match="1 of 1 runs failed, compare/flp-seed0 first: Stopped"):
        compare.main([*words, "--loss-limit", "1e-9", "--max-skipped", "1"])
    assert not (tmp_path / "compare" / "table.md").exists()


def test_runs_that_are_finished_are_reported_though_others_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = tmp_path / "compare" / "flp-seed1" / "thesis.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("years of work")
    words = [*TINY, "--methods", "flp", "oml", "--seeds", "2", "--jobs", "2"]
    with pytest.raises(
        RuntimeError, match=r"1 of 4 runs failed, compare/flp-seed1 first: .* not a"
    ):
        compare.main([*words, "--runs", str(tmp_path)])
    table = (tmp_path / "compare" / "table.md").read_text()
    assert table in capsys.readouterr().out + "\n"
    assert "1 of 4 runs failed and are omitted." in table
    rows = [line for line in table.splitlines() if "sines, incremental" in line]
    assert [row.split("|")[-2].strip() for row in rows] == ["1", "2"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--methods"], "--methods is empty: give one method or more"),
        (["--methods", "flp", "flp"], "--methods names flp twice"),
        (
            ["--methods", "flp", "prototypes"],
            "prototypes: a mean head is for classification, and task 'sines'",
        ),
        (
            ["--task", "glyphs", "--stream", "test.ways=500"],
            "ways is 500; this split has 400 class",
        ),
    ],
)
def test_what_is_known_of_a_comparison_is_printed_before_its_first_run(
    words: list[str], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=sentence):
        compare.main([*TINY, *words, "--seeds", "1", "--runs", str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_a_slip_in_a_comparison_is_reported_before_its_first_run(tmp_path: Path) -> None:
    words = [*TINY, "--methods", "flp", "flp,speed=9", "--seeds", "1", "--runs", str(tmp_path)]
    with pytest.raises(ConfigError, match="'speed' is not an option of method 'flp'"):
        compare.main(words)
    with pytest.raises(ConfigError, match="'shoes' is not an option of task"):
        compare.main([*words[:-4], "--methods", "flp,train.shoes=2", *words[-2:]])
    assert not list(tmp_path.iterdir())


def test_the_demo_without_omniglot_draws_glyphs_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo.main(["--tiny", "--runs", str(tmp_path), "--data", str(tmp_path)])
    said = capsys.readouterr().out
    assert said.startswith("The images are generated glyphs")
    rows = [line for line in said.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + 2 * len(demo.METHODS)
    assert (tmp_path / "demo" / "table.md").exists()
    assert len(list(tmp_path.glob("demo/*/*/rule/config.json"))) == 4
