"""A rule that was found, as a rule file: with a small network, since a learner has one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from experiments.lab.evolution.space import rule_of
from metaplastic import CrossEntropy, Initialization, OnlineLearner, save_pretrained


def saved(
    folder: Path,
    numbers: Mapping[str, float],
    rows: int,
    settings: Mapping[str, Any],
    generations: int,
) -> OnlineLearner:
    """Write the rule file; the learner in it has a dense network, redrawn in every lifetime."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(196, 64), nn.ReLU(), nn.Linear(64, 5))
    redrawn = Initialization(hidden="redrawn", readout="redrawn")
    learner = OnlineLearner(
        network, rule_of(numbers, rows=rows), CrossEntropy(5), input_shape=(1, 14, 14),
        initialization=redrawn,
    )  # fmt: skip
    provenance = {
        "command": "experiments.discover --by evolution", "settings": dict(settings),
        "generations": generations, "numbers": dict(numbers),
    }  # fmt: skip
    save_pretrained(learner, folder, provenance)
    return learner
