"""A measurement that takes long, for tests of the processes that take it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Slow:
    """Everything that decides its result but the seed."""

    seconds: float = 120.0

    def measure(self, seed: int) -> dict[str, Any]:
        time.sleep(self.seconds)
        return {}

    def reduced(self) -> Slow:
        return self
