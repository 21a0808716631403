"""FLP's stable form with the readout as the only plastic layer: what hidden plasticity is worth."""

from __future__ import annotations

from typing import Any

from experiments.config import Preset
from experiments.methods import flp_stable
from experiments.methods.flp_stable import rates
from experiments.problem import Problem
from metaplastic import OnlineLearner

__all__ = ["build", "rates", "stream"]


def build(
    problem: Problem, *, rate: float | None = None, channels: tuple[int, ...] | None = None
) -> OnlineLearner:
    """As in `flp_stable`."""
    return flp_stable.build(problem, rate=rate, plastic=1, channels=channels)


def stream(task: str, size: Preset) -> dict[str, Any]:
    """Twice the classes of `flp_stable`, because a lesson costs no more than one row."""
    few = flp_stable.stream(task, size)
    return {**few, "ways": 64, "slots": 64} if few else {}
