"""Settings of every command that repeats its runs over seeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typing_extensions import Doc


@dataclass(frozen=True, kw_only=True)
class OverSeeds:
    """Which seeds, where the data is, and how an error is shown."""

    seed: Annotated[int, Doc("the first of the seeds")] = 0
    seeds: Annotated[int, Doc("how many, counted up from --seed")] = 3
    data: Annotated[Path | None, Doc("folder of data files; None: METAPLASTIC_DATA")] = None
    debug: Annotated[bool, Doc("show where an error came from")] = False

    @property
    def all_seeds(self) -> range:
        return range(self.seed, self.seed + self.seeds)

    @property
    def root(self) -> str | None:
        return None if self.data is None else str(self.data)
