"""A long life by the rule and by SGD: what is measured, on a few made images."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from statistics import fmean

import pytest
import torch
from torch import Tensor

from experiments import generalize
from experiments.lab.deep_training import jpeg75
from experiments.lab.settings.registry import ConfigError
from experiments.lab.transfer import long_stream
from experiments.lab.transfer.long_stream import Life, both, table
from metaplastic import from_pretrained


def made(folder: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(256, (20, 3, 32, 32), generator=draw, dtype=torch.uint8)
    y = torch.randint(10, (20,), generator=draw).to(torch.uint8)
    return x[:12], y[:12], x[12:], y[12:]


def test_both_live_the_same_stream_and_the_feedback_is_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jpeg75, "read", made)
    monkeypatch.setattr(long_stream, "HELD_OUT", 4)
    life = Life(examples=4, every=2, tuning=2, tests=8, compile=False)
    own = both(from_pretrained("aligned").rule, life, [1e-3, 1e-2], 0)
    assert own["rate"] in (1e-3, 1e-2)
    for who in ("rule", "sgd"):
        assert [moment["examples"] for moment in own[who]] == [0, 2, 4]
        assert all(0 <= moment["accuracy"] <= 100 for moment in own[who])
    assert all(moment["angle"] == pytest.approx(0, abs=0.1) for moment in own["sgd"])
    first, *later = (moment["angle"] for moment in own["rule"])
    assert first > 80  # before sleep the feedback is random
    assert max(later) < 40
    assert table([own]).count("\n") == 4


def test_a_second_seed_is_added_to_the_first_and_shown_with_its_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jpeg75, "read", made)
    monkeypatch.setattr(long_stream, "HELD_OUT", 4)
    monkeypatch.setattr(long_stream, "Life", partial(Life, compile=False))
    words = ["aligned", "--long", "2", "--sgd", "0.01", "--out", str(tmp_path)]
    generalize.main([*words, "--seeds", "1"])
    first = (tmp_path / "long, seed 0.json").stat().st_mtime_ns
    assert "±" not in (tmp_path / "long.md").read_text()
    generalize.main([*words, "--seeds", "2"])
    assert (tmp_path / "long, seed 0.json").stat().st_mtime_ns == first
    runs = [json.loads((tmp_path / f"long, seed {seed}.json").read_text()) for seed in (0, 1)]
    one, other = (run["rule"][-1]["angle"] for run in runs)
    assert one != other
    half = 12.7062 * abs(one - other) / 2  # of two values: Student's t at one degree of freedom
    assert f"{fmean((one, other)):.1f} ± {half:.1f}" in (tmp_path / "long.md").read_text()
    with pytest.raises(ConfigError, match="has results with examples 2"):
        generalize.main([*words, "--long", "3"])
