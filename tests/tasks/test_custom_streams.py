"""A new stream is one new class: the scripts need no more of it than they say."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_type_hints

import pytest
import torch

import tasks
from experiments import meta_train
from experiments.lab.networks import build
from experiments.lab.settings import task_options
from experiments.lab.settings.config import Train
from experiments.lab.settings.registry import ConfigError, methods, typed
from metaplastic.episode import Episode, StreamSpec
from tasks.sines import Sines


@dataclass(frozen=True)
class OneOrder:
    """A stream that cannot be shuffled."""

    split: str = "train"
    functions: int = 3

    @property
    def spec(self) -> StreamSpec:
        return self._stream().spec

    def sample(self, tasks: int, generator: torch.Generator) -> Episode:
        return self._stream().sample(tasks, generator)

    def _stream(self) -> Sines:
        functions = self.functions
        return Sines(functions=functions, steps_per_function=2, batch=4, queries_per_function=4)


@pytest.fixture
def one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "stream_class", lambda name: OneOrder)


@pytest.mark.usefixtures("one_order")
def test_a_stream_of_one_order_is_meta_trained_on_and_tabled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--preset", "tiny", "--runs", str(tmp_path), "--name", "run", "--stream"]
    meta_train.main([*words, "functions=2"])
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert len(result["final"]) == 2
    assert "other_order" not in result
    assert "| error " in capsys.readouterr().out


@pytest.mark.usefixtures("one_order")
def test_a_stream_of_one_order_is_not_shuffled() -> None:
    with pytest.raises(ConfigError, match="'sines' has only one order: give --order incremental"):
        build.build_stream(Train(order="iid"), "train")


def test_a_stream_that_is_no_dataclass_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain:
        def __init__(self, split: str) -> None:
            pass

    monkeypatch.setattr(build, "stream_class", lambda name: Plain)
    with pytest.raises(ConfigError, match="Plain of task 'sines' is not a dataclass with a field"):
        build.build_stream(Train(), "train")


@pytest.mark.parametrize("name", tasks.names())
def test_help_lists_every_option_of_a_task_but_its_order(name: str) -> None:
    known = {field.name: field for field in fields(tasks.stream_class(name)) if field.init}
    listed = task_options.fields(name)
    assert listed.keys() == known.keys() - {"order"}
    hints = get_type_hints(tasks.stream_class(name))
    for option in listed.keys() - {"root"}:  # there `None` would be the name of a folder
        if listed[option] != "BY_PROTOCOL":  # a constant, by its name
            assert typed(option, listed[option], hints[option]) == known[option].default


def test_help_lists_what_a_preset_makes_of_a_task() -> None:
    options, in_tests = task_options.task_options("omniglot", "laptop")
    assert "ways=20 shots=5 queries_per_class=3 " in options
    assert in_tests == "in tests: ways=5 queries_per_class=5 rotations=False"
    (options,) = task_options.task_options("sines", "tiny")
    assert options.startswith("split=train functions=3 steps_per_function=2 ")


@pytest.mark.parametrize("name", tasks.names())
def test_a_name_leads_to_one_class(name: str) -> None:
    assert tasks.stream_class(name).__name__.lower() == name.replace("_", "")


@dataclass(frozen=True)
class Vectors:
    """Classes of vectors, not of images: any dataclass with a spec and a sample."""

    split: str = "train"
    ways: int = 3
    fault: str = ""

    @property
    def spec(self) -> StreamSpec:
        return StreamSpec(
            "vectors", "classification", (6,), self.ways, 2 * self.ways, 1, 2 * self.ways,
            self.ways, "none",
        )  # fmt: skip

    def sample(self, tasks: int, generator: torch.Generator) -> Episode:
        steps = 2 * self.ways - (self.fault == "short")
        label = (torch.arange(steps) // 2).expand(tasks, -1)
        means = torch.randn(tasks, self.ways, 6, generator=generator)
        x = means.gather(1, label[..., None].expand(-1, -1, 6))
        noise = [0.1 * torch.randn(x.shape, generator=generator) for _ in range(2)]
        seed = torch.randint(2**62, (tasks,), generator=generator)
        subtask = label + 3 * (self.fault == "far")
        query = x + noise[1]
        if self.fault == "nan":
            query = query * torch.nan
        return Episode(
            (x + noise[0])[:, :, None], label[..., None], subtask[..., None],
            query if self.fault != "double" else query.double(), label, label, seed,
        )  # fmt: skip


@pytest.fixture
def vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "stream_class", lambda name: Vectors)


@pytest.mark.usefixtures("vectors")
@pytest.mark.parametrize("method", sorted(methods()))
def test_every_method_learns_classes_of_vectors(method: str, tmp_path: Path) -> None:
    words = ["--preset", "tiny", "--runs", str(tmp_path), "--name", "run", "--method", method]
    if method == "flp_on_frozen":
        with pytest.raises(ConfigError, match="it does not take the inputs of task"):
            meta_train.main([*words, "--threads", "1"])
        return
    meta_train.main([*words, "--threads", "1"])
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert 0 <= result["score"] <= 1
    assert result["diverged"] == 0


@pytest.mark.usefixtures("vectors")
@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("short", "has steps = 6, but its lifetimes have 5"),
        ("far", "support_subtask has values from 3 to 5"),
        ("double", "support_x is torch.float32, query_x is torch.float64"),
    ],
)
def test_lifetimes_that_are_not_what_their_spec_says_are_refused_before_the_first_step(
    fault: str, sentence: str, tmp_path: Path
) -> None:
    words = ["--preset", "tiny", "--runs", str(tmp_path), "--name", "run"]
    with pytest.raises(ValueError, match=sentence):
        meta_train.main([*words, "--stream", f"test.fault={fault}"])
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    with pytest.raises(ValueError, match=sentence):
        meta_train.main([*words, "--stream", f"train.fault={fault}"])


@pytest.mark.usefixtures("vectors")
def test_predictions_that_are_no_numbers_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--preset", "tiny", "--runs", str(tmp_path), "--name", "run"]
    meta_train.main([*words, "--method", "flp_readout", "--stream", "test.fault=nan"])
    assert "4 of 4 lifetimes diverged: errors there count as infinite" in capsys.readouterr().out
