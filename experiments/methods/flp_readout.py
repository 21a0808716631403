"""FLP's stable form with readout-only plasticity: an ablation of hidden plasticity."""

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
    strides: tuple[int, ...] | None = None,
    max_shift: int = 0,
) -> OnlineLearner:
    """As `flp_stable`. `max_shift`: at test, average features over shifts of so many pixels."""
    if max_shift and len(problem.spec.input_shape) != 3:
        raise ConfigError(f"max_shift={max_shift} is for images, not {problem.spec.name}.")
    learner = flp_stable.build(problem, rate=rate, plastic=1, channels=channels, strides=strides)
    return with_shift_averaging(learner, max_shift) if max_shift else learner


def stream(task: str, size: Preset) -> dict[str, Any]:
    """Twice the classes of `flp_stable`, since an example updates a single row."""
    few = flp_stable.stream(task, size)
    return {**few, "ways": 64, "slots": 64} if few else {}
