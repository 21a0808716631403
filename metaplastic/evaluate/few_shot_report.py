"""The few-shot report: query loss and accuracy of many episodes after adaptation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from metaplastic.evaluate.intervals import Array, Interval, interval, jsonable


@dataclass(frozen=True)
class FewShotReport:
    """Loss and, for classification, accuracy of each episode, in the order they were sampled."""

    losses: Array  # episodes
    accuracies: Array | None  # episodes
    seed: int

    @property
    def diverged(self) -> int:
        """The number of episodes whose loss is not finite: it counts as infinite."""
        return int((~np.isfinite(self.losses)).sum())

    @property
    def loss(self) -> Interval:
        """Mean over episodes with the normal 95% interval."""
        return interval(self.losses)

    @property
    def accuracy(self) -> Interval | None:
        """Mean over episodes with the normal 95% interval; None for regression."""
        return None if self.accuracies is None else interval(self.accuracies)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able summary."""
        found = {"loss": self.loss.to_dict()}
        if self.accuracy is not None:
            found["accuracy"] = self.accuracy.to_dict()
        count = {"episodes": len(self.losses), "diverged": self.diverged, "seed": self.seed}
        plain: dict[str, Any] = jsonable(count | found)
        return plain
