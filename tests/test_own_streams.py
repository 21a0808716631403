"""A new stream is one new class: the scripts ask of it no more than they say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import tasks
from experiments import build, meta_train
from experiments.config import Train
from experiments.registry import ConfigError
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
def test_a_name_leads_to_one_class(name: str) -> None:
    assert tasks.stream_class(name).__name__.lower() == name.replace("_", "")
