"""FLP's stable form with the readout as the only plastic layer: what hidden plasticity is worth."""

from __future__ import annotations

from typing import Any

from experiments.config import Preset
from experiments.methods import flp_stable
from experiments.methods.flp_stable import rates
from experiments.problem import MANY_CLASSES, Problem
from metaplastic import OnlineLearner

__all__ = ["build", "rates", "stream"]


def build(
    problem: Problem, *, rate: float | None = None, channels: tuple[int, ...] | None = None
) -> OnlineLearner:
    """As in `flp_stable`."""
    return flp_stable.build(problem, rate=rate, plastic=1, channels=channels)


def stream(task: str, size: Preset) -> dict[str, Any]:
    """More classes at once than other methods can afford: a lesson costs one row of the readout."""
    if task not in MANY_CLASSES or size == "tiny":
        return {}
    return {"ways": 160, "slots": 160, "shots": 3, "queries_per_class": 2}
