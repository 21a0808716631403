"""A test is of lifetimes that meta-training never saw, whatever a command line says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import interference, meta_test, meta_train
from experiments.lab.networks.build import HELD_OUT, build_stream, evaluation_split, trained_on
from experiments.lab.settings.config import PRESETS, Preset, Stream, Train
from experiments.lab.settings.registry import ConfigError
from metaplastic.files.rule_file import read_config, save_pretrained
from tasks.omniglot import Omniglot, _split
from tasks.sines import Sines
from tests.helpers.small_runs import Clusters, small_learner


def omniglot(split: str, *options: str, preset: str = "laptop") -> Omniglot:
    config = Train(task="omniglot", preset=preset, stream=options)  # type: ignore[arg-type]
    stream = build_stream(config, split)
    assert isinstance(stream, Omniglot)
    return stream


@pytest.mark.parametrize("preset", ["laptop", "paper"])
def test_options_of_meta_training_do_not_reach_the_test(preset: str) -> None:
    options = ("split=background", "overlap=true", "labels=global", "slots=None", "remember=9")
    train = omniglot("train", *options, preset=preset)
    assert (train.split, train.overlap, train.remember) == ("background", True, 9)
    test = omniglot("test", *options, preset=preset)
    assert test.split == ("paper_test" if preset == "paper" else "test")
    assert (test.overlap, test.remember, test.labels) == (False, 0, "global")


@pytest.mark.parametrize("option", ["test.overlap=true", "test.distort=1", "test.split=paper_test"])
def test_options_of_meta_training_given_to_the_test_are_refused(option: str) -> None:
    with pytest.raises(ConfigError, match="would change the test of every rule"):
        omniglot("test", option)
    assert omniglot("test", "test.overlap=false").overlap is False


def test_other_options_do() -> None:
    assert (omniglot("test", "ways=3").ways, omniglot("train", "ways=3").ways) == (3, 3)


@pytest.mark.parametrize("preset", ["laptop", "paper"])
def test_validation_is_validation_in_every_preset(preset: str) -> None:
    assert omniglot("validation", preset=preset).split == "validation"


@pytest.mark.parametrize("split", ["test", "paper_test"])
def test_meta_training_on_a_split_for_evaluation_is_refused(split: str) -> None:
    with pytest.raises(ConfigError, match=f"split={split} is for evaluation"):
        omniglot("train", f"split={split}")


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_order_has_its_own_flag(split: str) -> None:
    with pytest.raises(ConfigError, match="order=iid would contradict --order: use --order"):
        build_stream(Train(stream=("order=iid",)), split)


@pytest.fixture
def sampled_splits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The split of every stream that a script draws lifetimes from."""
    seen: list[str] = []
    sample = Sines.sample

    def spy(self: Sines, *arguments: object) -> object:
        seen.append(self.split)
        return sample(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Sines, "sample", spy)
    return seen


def test_a_rule_is_tested_on_held_out_classes(tmp_path: Path, sampled_splits: list[str]) -> None:
    words = ["--preset", "tiny", "--runs", str(tmp_path)]
    meta_train.main([*words, "--name", "run"])
    meta_train.main([*words, "--name", "other", "--stream", "split=validation"])
    assert set(sampled_splits) == {"train", "validation", "test"}

    def splits(name: str, *options: str) -> set[str]:
        sampled_splits.clear()
        stream = ["--stream", *options] if options else []
        meta_test.main([str(tmp_path / name / "rule"), "--episodes", "4", *stream])
        result = json.loads((tmp_path / name / "test" / "result.json").read_text())
        assert set(sampled_splits) == {result["split"]}
        return set(sampled_splits)

    assert splits("other") == {"test"}
    assert splits("run", "split=validation", "batch=4") == {"validation"}
    for name, option, sentence in (
        ("run", "split=train", "split=train may overlap with meta-training"),
        ("other", "split=validation", "split=validation may overlap with meta-training"),
        ("run", "overlap=true", "overlap= is for meta-training alone"),
        ("run", "test.overlap=true", "test.overlap= is for meta-training alone"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            splits(name, option)


@pytest.mark.parametrize(
    ("preset", "options"),
    [("laptop", ["split=background"]), ("paper", []), ("tiny", ["split=paper"])],
)
def test_a_split_inside_that_of_meta_training_is_no_test(
    preset: str, options: list[str], tmp_path: Path
) -> None:
    settings = {"preset": preset, "task": "omniglot", "order": "iid", "stream": options}
    rule = save_pretrained(small_learner(Clusters()), tmp_path / "rule", {"settings": settings})
    with pytest.raises(ConfigError, match="split=validation may overlap with meta-training"):
        meta_test.main([str(rule), "--stream", "split=validation"])
    with pytest.raises(ConfigError, match="split=validation may overlap with meta-training"):
        interference.main([str(rule), "--stream", "split=validation"])


def test_a_rule_file_says_which_split_it_was_meta_trained_on(tmp_path: Path) -> None:
    words = ["--preset", "tiny", "--runs", str(tmp_path), "--name", "run"]
    meta_train.main([*words, "--stream", "split=validation"])
    assert read_config(tmp_path / "run" / "rule")["provenance"]["split"] == "validation"


ALPHABETS = [f"images_background/{alphabet}/1" for alphabet in range(964)]
CHARACTERS = [f"images_evaluation/{alphabet}/1" for alphabet in range(659)]


@pytest.mark.parametrize("recorded", [True, False], ids=["by its record", "by its settings"])
@pytest.mark.parametrize("option", [None, "train", "validation", "background", "paper"])
@pytest.mark.parametrize("preset", PRESETS)
def test_no_class_is_both_meta_trained_on_and_tested_on(
    preset: Preset, option: str | None, recorded: bool
) -> None:
    stream = () if option is None else (f"split={option}",)
    trained = omniglot("train", *stream, preset=preset).split
    source = {"settings": {"preset": preset, "task": "omniglot", "stream": stream}}
    known = {"split": trained} if recorded else {}
    assert trained_on({**source, **known}) == trained
    accepted = []
    for split in HELD_OUT:
        stream = Stream(task="omniglot", preset=preset, stream=(f"split={split}",))
        try:
            accepted.append(evaluation_split(stream, {**source, **known}))
        except ConfigError:
            continue
        sampled_splits = omniglot(accepted[-1], preset=preset).split
        seen, tested = (
            set(_split(name, ALPHABETS, CHARACTERS)) for name in (trained, sampled_splits)
        )
        assert not seen & tested
    assert {"test", "paper_test"} <= set(accepted)
    assert ("validation" in accepted) == (trained == "train")


def test_a_rule_of_few_alphabets_is_tested_on_all_others() -> None:
    source = {"split": "narrow", "settings": {"task": "split_omniglot", "preset": "laptop"}}
    stream = Stream(task="split_omniglot", preset="laptop")
    assert evaluation_split(stream, source) == "wide_test"
    narrow, wide = (set(_split(name, ALPHABETS, CHARACTERS)) for name in ("narrow", "wide_test"))
    assert (len(narrow), len(wide), narrow & wide) == (623, 1000, set())
    for split in ("validation", "paper_test"):
        with pytest.raises(ConfigError, match="may overlap with meta-training"):
            evaluation_split(replace(stream, stream=(f"split={split}",)), source)
    with pytest.raises(ConfigError, match="protocol=thousand, which brings its own"):
        omniglot("train", "split=narrow", preset="laptop")


def test_options_of_a_test_go_on_top_of_those_of_meta_training(tmp_path: Path) -> None:
    words = ["--preset", "tiny", "--runs", str(tmp_path), "--name", "run", "--stream"]
    meta_train.main([*words, "functions=4", "batch=2"])
    rule = tmp_path / "run" / "rule"
    options = ["--stream", "split=validation", "batch=3"]
    meta_test.main([str(rule), "--episodes", "4", *options])
    result = json.loads((tmp_path / "run" / "test" / "result.json").read_text())
    assert result["split"] == "validation"
    assert len(result["final"]) == 4
    assert result["examples"]["x"][-1] == 4 * 2 * 3

    interference.main([str(rule), "--lifetimes", "1", "--out", str(tmp_path / "out"), *options])
    records = json.loads((tmp_path / "out" / "interference.json").read_text())["rules"]["flp"]
    assert {record["split"] for record in records} == {"validation"}
    assert {len(record["matrix"]) for record in records} == {4 * 2}


def test_max_shift_at_test_equals_a_learner_built_with_it(
    tmp_path: Path,
) -> None:
    words = ["--preset", "tiny", "--task", "glyphs", "--runs", str(tmp_path)]
    for name, *options in (("plain",), ("wide", "--options", "max_shift=1")):
        meta_train.main([*words, "--method", "flp_readout", "--name", name, *options])
    meta_test.main([str(tmp_path / "plain" / "rule"), "--episodes", "4", "--max-shift", "1"])
    tested, made = (
        json.loads((tmp_path / name / "result.json").read_text()) for name in ("plain/test", "wide")
    )
    assert tested["score"] == pytest.approx(made["score"])


def test_max_shift_is_refused_for_a_stream_without_images(tmp_path: Path) -> None:
    meta_train.main(["--preset", "tiny", "--runs", str(tmp_path), "--name", "run"])
    with pytest.raises(ConfigError, match="is for images, not sines"):
        meta_test.main([str(tmp_path / "run" / "rule"), "--max-shift", "1"])
    with pytest.raises(ConfigError, match="max_shift=1 is for images, not sines"):
        meta_train.main(
            ["--preset", "tiny", "--method", "flp_readout", "--options", "max_shift=1",
             "--runs", str(tmp_path), "--name", "other"]
        )  # fmt: skip


def test_a_readout_with_more_outputs_than_a_test_has_labels_is_no_misfit(tmp_path: Path) -> None:
    words = ["--preset", "tiny", "--task", "glyphs", "--runs", str(tmp_path), "--name", "run"]
    meta_train.main([*words, "--stream", "labels=global"])
    meta_test.main([str(tmp_path / "run" / "rule"), "--episodes", "4"])
    recorded, tested = (
        json.loads((tmp_path / "run" / name / "result.json").read_text()) for name in ("", "test")
    )
    assert tested["score"] == recorded["score"]


def test_a_rule_is_extended_to_more_classes_than_in_meta_training(tmp_path: Path) -> None:
    words = ["--preset", "tiny", "--task", "glyphs", "--runs", str(tmp_path), "--name", "run"]
    meta_train.main([*words, "--method", "flp_stable"])
    more = ["--stream", "ways=7"]
    meta_test.main([str(tmp_path / "run" / "rule"), "--episodes", "4", *more])
    result = json.loads((tmp_path / "run" / "test" / "result.json").read_text())
    assert len(result["final"]) == 7
    out = ["--lifetimes", "1", "--fractions", "0", "--out", str(tmp_path / "out")]
    interference.main([str(tmp_path / "run" / "rule"), *out, *more])
    (records,) = json.loads((tmp_path / "out" / "interference.json").read_text())["rules"].values()
    assert len(records[0]["matrix"]) == 7 * 2
