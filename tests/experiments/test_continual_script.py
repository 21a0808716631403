"""Hundreds of classes from the command line: the curves, the sweep, the table."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments import continual, meta_train
from experiments.compare import plan_runs
from experiments.lab.networks.build import build_stream
from experiments.lab.runs.evaluation import MANY as MOST_OF_FEW
from experiments.lab.runs.sweep import (
    COUNTS,
    chosen,
    count_steps,
    describe_scales,
    held_out,
    rate_scales,
)
from experiments.lab.settings.config import Compare, Train
from experiments.lab.settings.registry import ConfigError
from metaplastic import OnlineLearner, StreamSpec
from metaplastic.evaluate.evaluation import over_lifetime
from tasks.glyphs import Glyphs
from tests.helpers.real_data import needs

MANY = ("train.ways=3", "train.slots=3", "test.ways=60", "test.shots=1", "test.queries_per_class=1")
TINY = ("--preset", "tiny", "--threads", "1", "--task", "glyphs", "--stream", *MANY)


def test_two_methods_become_two_figures_and_one_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--methods", "flp_readout", "oml", "--seeds", "1", "--episodes", "2", "--jobs", "2"]
    sweep = ["--sweep", "0.1", "1", "--classes", "10,60", "--runs", str(tmp_path)]
    continual.main([*TINY, *words, *sweep])
    said = capsys.readouterr().out
    root = tmp_path / "continual"
    for column in ("test %, 10", "test %, 60", "trajectory %, 60", "forgetting %", "i.i.d. %"):
        assert f"| {column} " in said
    assert {path.stem for path in (root / "plots").glob("classes_*.png")} == {
        "classes_test", "classes_trajectory",
    }  # fmt: skip
    for method, counts in (("flp_readout", set()), ("oml", {"10", "50", "60"})):
        found = json.loads((root / f"{method}-seed0" / "result.json").read_text())
        assert found["seen"]["x"] == found["trajectory"]["x"] == [10, 50, 60]
        assert found["seen"]["y"][-1] == pytest.approx(found["score"])
        assert found["rate_scales"].keys() == counts
        assert all(0.003 < scale < 32 for scale in found["rate_scales"].values())


def test_a_method_may_have_lifetimes_of_its_own(tmp_path: Path) -> None:
    label = "flp_stable,plastic=1,train.ways=2,train.slots=2"
    words = ("--methods", "flp_readout", label, "--seeds", "1", "--episodes", "1")
    continual.main([*TINY, *words, "--classes", "60", "--runs", str(tmp_path)])
    root = tmp_path / "continual"
    folders = "flp_readout-seed0", "flp_stable-plastic_1-train.ways_2-train.slots_2-seed0"
    plain, own = [json.loads((root / name / "resolved.json").read_text()) for name in folders]
    assert (plain["train_stream"]["ways"], own["train_stream"]["ways"]) == (3, 2)
    assert plain["test_stream"] == own["test_stream"]
    assert own["options"]["plastic"] == 1


def test_a_comma_within_a_value_does_not_end_it() -> None:
    label = "flp_readout,channels=16,32,max_shift=1,train.ways=3"
    (run,) = plan_runs(Compare(methods=(label,), seeds=1, name="c"))[label]
    assert (run.method, run.options) == ("flp_readout", ("channels=16,32", "max_shift=1"))
    assert run.stream[-1] == "train.ways=3"
    assert run.name == "c/flp_readout-channels_16-32-max_shift_1-train.ways_3-seed0"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--methods", "flp_readout,max_shift"], "write each option as name=value"),
        (["--classes", "ten"], "write numbers of classes, as in 10,100,600"),
        (
            ["--classes", "7", "--methods", "flp_readout"],
            "flp_readout is evaluated after 10,50,60 cla",
        ),
        (
            ["--stream", "test.ways=9", "--methods", "oml"],
            "--classes 10: oml is evaluated after 1 to 9",
        ),
        (
            ["--methods", "flp_readout", "maml", "--classes", "10"],
            "maml is not evaluated .* needs online learners",
        ),
        (["--order", "iid"], "--order iid shuffles the classes.*use --order incremental"),
        (["--task", "sines", "--stream", "batch=1"], "task 'sines' has no classes: choose"),
        (["--methods"], "--methods is empty: give one method or more"),
    ],
)
def test_what_cannot_be_shown_is_said_before_the_first_run(
    words: list[str], sentence: str, tmp_path: Path
) -> None:
    common = ["--seeds", "1", "--episodes", "1", "--runs", str(tmp_path), "--methods", "oml"]
    with pytest.raises(ConfigError, match=sentence):
        continual.main([*TINY, *common, *words])
    assert not list(tmp_path.iterdir())


def test_a_number_of_classes_that_a_finished_run_lacks_is_named(tmp_path: Path) -> None:
    words = ["--methods", "flp_readout", "--seeds", "1", "--episodes", "1", "--runs", str(tmp_path)]
    continual.main([*TINY, *words, "--classes", "10"])
    with pytest.raises(
        ConfigError, match="--classes 7: flp_readout is evaluated after 10,50,60 class"
    ):
        continual.main([*TINY, *words, "--classes", "7"])


def test_the_help_of_classes_lists_what_is_evaluated() -> None:
    few, *counts = map(int, re.findall(r"\d+", continual.POSSIBLE))
    assert few == MOST_OF_FEW
    assert tuple(counts) == COUNTS


def test_moments_are_those_at_which_others_published() -> None:
    spec = StreamSpec("", "classification", (1,), 600, 9000, 1, 3000, 600, "")
    counts = (10, 50, 75, 100, 150, 200, 300, 400, 500, 600)
    assert count_steps(spec) == [15 * count for count in counts]
    assert count_steps(replace(spec, subtasks=80, steps=160)) == [20, 100, 150, 160]


def stream(split: str) -> Glyphs:
    config = Train(preset="tiny", task="glyphs", stream=MANY)
    built = build_stream(config, split)
    assert isinstance(built, Glyphs)
    return built


def test_rates_are_chosen_on_classes_of_neither_training_nor_test() -> None:
    test = stream("test")
    chosen = held_out(test)
    assert isinstance(chosen, Glyphs)
    assert (chosen.split, chosen.ways, chosen.shots) == ("validation", test.ways, test.shots)


def test_options_for_training_alone_and_for_tests_alone_stay_apart() -> None:
    assert (stream("train").ways, stream("test").ways) == (3, 60)
    assert (stream("train").shots, stream("test").shots) == (2, 1)
    wrong = Train(preset="tiny", task="glyphs", stream=("tset.ways=3",))
    with pytest.raises(ConfigError, match="did you mean 'test'"):
        build_stream(wrong, "test")


def test_the_rate_scale_of_each_number_of_classes_is_the_best_on_validation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from experiments.lab.networks.build import build_learner

    config = Train(preset="tiny", task="glyphs", method="oml", stream=MANY, sweep=(0.1, 1.0))
    learner = build_learner(replace(config, stream=(*MANY, "train.outputs=60")), stream("train"))
    tried: list[float] = []

    def recording(made: OnlineLearner, *given: object, **options: object) -> object:
        tried.append(made.rule.rate_scale)
        return over_lifetime(made, *given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("experiments.lab.runs.sweep.over_lifetime", recording)
    from metaplastic.inner.grow import grow

    larger = grow(learner, 60)
    found = rate_scales(larger, stream("test"), config, [1, 10, 11, 50, 60, 70])
    assert list(found) == [1, 10, 11, 50, 60, 70]
    assert (found[1], found[11], found[70]) == (found[10], found[50], found[60])
    assert tried[:2] == [0.1, 1.0]
    assert larger.rule.rate_scale == 1.0


def test_few_classes_have_their_rates_chosen_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("train.ways=3", "train.slots=3", "test.ways=12", "test.shots=1")
    words = ["--preset", "tiny", "--threads", "1", "--task", "glyphs", "--method", "oml"]
    run = ["--sweep", "1e-6", "1", "--runs", str(tmp_path), "--name", "run", "--episodes", "2"]
    meta_train.main([*words, *run, "--stream", *few])
    found = json.loads((tmp_path / "run" / "result.json").read_text())
    assert found["seen"]["x"] == [int(count) for count in found["rate_scales"]] == [*range(1, 13)]
    assert found["rate_scales"]["1"] == found["rate_scales"]["10"]
    assert found["rate_scales"]["11"] == found["rate_scales"]["12"]
    said = capsys.readouterr().out
    assert "chosen on classes that meta-training saw" not in said
    assert "Rates at test, chosen on validation lifetimes: x" in said
    assert describe_scales({1: 0.3, 10: 0.3, 25: 0.1}) == "x0.3 up to 10, x0.1 up to 25 classes"


def test_rates_chosen_on_classes_of_meta_training_are_said_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--preset", "tiny", "--threads", "1", "--task", "glyphs", "--method", "oml"]
    run = ["--sweep", "1", "--runs", str(tmp_path), "--name", "run", "--episodes", "2"]
    meta_train.main([*words, *run, "--stream", "split=validation"])
    assert "classes were also used for meta-training" in capsys.readouterr().out


def test_a_stream_without_classes_to_choose_on_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--preset", "tiny", "--threads", "1", "--method", "oml", "--sweep", "0.1", "1"]
    meta_train.main([*words, "--runs", str(tmp_path), "--name", "run"])
    assert "--sweep is not used: sines has no validation classes" in capsys.readouterr().out


@pytest.mark.parametrize("factor", ["-1", "0", "nan"])
def test_a_rate_that_is_none_is_refused(factor: str) -> None:
    with pytest.raises(ConfigError, match="every value must be above 0 and finite"):
        meta_train.main(["--preset", "tiny", "--sweep", "1", factor])


def test_a_sweep_goes_on_beyond_its_end_while_that_is_better() -> None:
    tried: list[float] = []

    def known(factor: float) -> np.ndarray:
        tried.append(factor)
        return np.array([-abs(np.log10(factor) + 2.0), -abs(np.log10(factor)), 0.5])

    assert chosen(known, (0.1, 1.0)) == pytest.approx([0.01, 1.0, 0.01 / 10**0.5])
    # Down to the first that is worse; 1 is ahead of all before it in the second column alone.
    assert tried == pytest.approx([0.1, 1.0, 0.1 / 10**0.5, 0.01, 0.01 / 10**0.5, 10**0.5])


def test_a_sweep_stops_somewhere() -> None:
    assert chosen(lambda factor: np.array([factor]), (0.1, 1.0)) == pytest.approx([10**1.5])
    assert chosen(lambda factor: np.array([1.0]), (0.1, 1.0)) == [0.1]
    assert chosen(lambda factor: np.array([factor]), (0.1,)) == [0.1]


@pytest.mark.data
@needs("omniglot")
def test_characters_arrive_by_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--methods", "prototypes", "anml", "--seeds", "1", "--jobs", "2", "--classes", "3"]
    continual.main(["--preset", "tiny", *words, "--threads", "1", "--runs", str(tmp_path)])
    said = capsys.readouterr().out
    assert "| prototypes |" in said
    assert "| anml       |" in said
