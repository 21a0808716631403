"""What `experiments.speed` measures: one file a row, each run in a process of its own.

A row is a function `measure(repeat, seed)` that returns findings; those of `ON_DEVICE` take a
`device` as well. Nothing imported here needs torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# The number of threads of each row.
ROWS = {
    "plastic_head": 1,
    "inner_sgd": 1,
    "encoder_once": 1,
    "deep_sines": 2,
    "long_lifetime": 1,
    "sampling": 1,
    "many_classes": 2,
    "matrix": 1,
    "credit": 1,
    "one_online_example": 1,
    "residual": 1,
    "encoder_beside_jax": 1,
    "long_beside_jax": 1,
    "online_beside_jax": 1,
    "executors": 1,
    "growth": 1,
}

ON_DEVICE = ("plastic_head", "inner_sgd", "deep_sines")
"""The rows that also run on an accelerator."""


def of_threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"


@dataclass(frozen=True)
class Finding:
    """One line of the table: the measurement, its result and its goal.

    `series` is what a figure is drawn from.
    """

    what: str
    result: str
    goal: str = ""
    met: bool | None = None
    peak_mb: float = 0.0
    detail: dict[str, float] = field(default_factory=dict)
    series: dict[str, Any] = field(default_factory=dict)
