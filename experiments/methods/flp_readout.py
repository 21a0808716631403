"""FLP's stable form with the readout as the only plastic layer: what hidden plasticity is worth."""

from __future__ import annotations

from typing import Any

from experiments.lab.networks.problem import Problem
from experiments.lab.settings.config import Preset
from experiments.lab.settings.registry import ConfigError
from experiments.methods import flp_stable
from experiments.methods.flp_stable import rates
from metaplastic import OnlineLearner
from metaplastic.evaluate.shift_averaging import with_shift_averaging

__all__ = ["build", "rates", "stream"]


def build(
    problem: Problem,
    *,
    rate: float | None = None,
    channels: tuple[int, ...] | None = None,
    glances: int = 0,
) -> OnlineLearner:
    """As in `flp_stable`. `glances`: at test, codes are means over moves by so many pixels."""
    if glances and len(problem.spec.input_shape) != 3:
        raise ConfigError(f"glances={glances} is for images, not {problem.spec.name}.")
    learner = flp_stable.build(problem, rate=rate, plastic=1, channels=channels)
    return with_shift_averaging(learner, glances) if glances else learner


def stream(task: str, size: Preset) -> dict[str, Any]:
    """Twice the classes of `flp_stable`, because a lesson costs no more than one row."""
    few = flp_stable.stream(task, size)
    return {**few, "ways": 64, "slots": 64} if few else {}
