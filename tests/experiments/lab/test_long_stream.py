"""A long life by the rule and by SGD: what is measured, on a few made images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from experiments.lab.deep_training import jpeg75
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
