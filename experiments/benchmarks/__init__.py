"""What `experiments.speed` measures: one file a row, each run in a process of its own.

A row is a function `measure(repeat, seed)` that returns findings. Nothing imported here needs
torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """How a row has to be run for its number to mean what the table says."""

    threads: int = 1


ROWS = {
    "plastic_head": Row(),
    "inner_sgd": Row(),
    "encoder_once": Row(),
    "deep_sines": Row(threads=2),
    "long_life": Row(),
    "sampling": Row(),
}


@dataclass(frozen=True)
class Finding:
    """One line of the table: what was measured, what came out, what was hoped for."""

    what: str
    result: str
    goal: str = ""
    met: bool | None = None
    peak_mb: float = 0.0
    detail: dict[str, float] = field(default_factory=dict)
