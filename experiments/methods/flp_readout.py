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
    """More classes at once than other methods can afford: a lesson costs one row of the readout.

    Two pictures to learn from and two to be asked about, lived both ways; eight classes at a time
    from one alphabet, because strangers are easily told apart.
    """
    if task not in MANY_CLASSES or size == "tiny":
        return {}
    few = {"ways": 64, "slots": 64, "shots": 2, "queries_per_class": 2}
    return {**few, "neighbors": 8}
