"""A test is of lifetimes that meta-training never saw, whatever a command line says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments import meta_test, meta_train
from experiments.build import build_stream
from experiments.config import Train
from experiments.registry import ConfigError
from tasks.omniglot import Omniglot
from tasks.sines import Sines


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


def test_other_options_do() -> None:
    assert (omniglot("test", "ways=3").ways, omniglot("train", "ways=3").ways) == (3, 3)


@pytest.mark.parametrize("preset", ["laptop", "paper"])
def test_validation_is_validation_in_every_preset(preset: str) -> None:
    assert omniglot("validation", preset=preset).split == "validation"


@pytest.mark.parametrize("split", ["test", "paper_test"])
def test_nothing_is_meta_trained_on_what_it_is_judged_on(split: str) -> None:
    with pytest.raises(ConfigError, match=f"split={split} is what a rule is judged on"):
        omniglot("train", f"split={split}")


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_order_has_its_own_flag(split: str) -> None:
    with pytest.raises(ConfigError, match="order=iid would contradict --order: use --order"):
        build_stream(Train(stream=("order=iid",)), split)


@pytest.fixture
def lived_on(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The split of every stream that a script draws lifetimes from."""
    seen: list[str] = []
    sample = Sines.sample

    def spy(self: Sines, *arguments: object) -> object:
        seen.append(self.split)
        return sample(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Sines, "sample", spy)
    return seen


def test_a_rule_is_tested_on_what_it_never_met(tmp_path: Path, lived_on: list[str]) -> None:
    words = ["--preset", "tiny", "--runs", str(tmp_path)]
    meta_train.main([*words, "--name", "run"])
    meta_train.main([*words, "--name", "other", "--stream", "split=validation"])
    assert set(lived_on) == {"train", "validation", "test"}

    def splits(name: str, *options: str) -> set[str]:
        lived_on.clear()
        stream = ["--stream", *options] if options else []
        meta_test.main([str(tmp_path / name / "rule"), "--episodes", "4", *stream])
        result = json.loads((tmp_path / name / "test" / "result.json").read_text())
        assert set(lived_on) == {result["split"]}
        return set(lived_on)

    assert splits("other") == {"test"}
    assert splits("run", "split=validation", "batch=4") == {"validation"}
    for name, option, sentence in (
        ("run", "split=train", "split=train may have been meta-trained on"),
        ("other", "split=validation", "split=validation may have been meta-trained on"),
        ("run", "overlap=true", "overlap= is for meta-training alone"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            splits(name, option)
