"""The configuration of the outer loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from metaplastic.support.choices import check_choice

OnDivergence = Literal["skip", "stop"]


@dataclass(frozen=True)
class TrainerConfig:
    """Settings of meta-training: length, batch sizes, divergence handling, logging.

    Raises:
        ValueError: for a number out of range.
    """

    steps: int = 10_000  # meta-steps
    tasks: int = 8  # lifetimes per meta-step
    micro_batch: int | None = None  # lifetimes per forward pass; None: all of them
    clip: float | None = None  # largest global norm of the meta-gradient
    on_divergence: OnDivergence = "skip"  # or "stop": at an unusable meta-step
    loss_limit: float | None = None  # a lifetime whose loss is above it counts as diverged
    max_skipped: int = 10  # the run stops when this many meta-steps in a row are unusable
    save_every: int = 500  # meta-steps between checkpoints
    log_every: int = 10  # meta-steps
    validate_every: int | None = None  # meta-steps; None: never
    validation_tasks: int = 64  # held-out lifetimes
    seed: int = 0  # fixes lifetimes, their order and dropout

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name == "on_divergence":
                check_choice(name, value, OnDivergence)
            elif name == "steps" and value < 0:
                raise ValueError(f"steps is {value!r}; it must be 0 or more.")
            elif name not in ("seed", "steps") and value is not None and not value > 0:
                raise ValueError(f"{name} is {value!r}; it must be above 0.")
