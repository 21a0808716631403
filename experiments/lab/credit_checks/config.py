"""Settings of the checks and claims."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typing_extensions import Doc

CHECKS = (
    "fa", "dfa", "usf", "frsf", "brsf", "bp", "kp", "wm", "ia", "sa", "aa", "noise", "gait",
    "cifar",
)  # fmt: skip
CLAIMS = ("depth", "mirror", "noise", "signs", "gait")


@dataclass(frozen=True, kw_only=True)
class Credit:
    """Train by credit-assignment rules; compare with pass lines, or plot a claim."""

    check: Annotated[tuple[str, ...], Doc(f"all, or any of {' '.join(CHECKS)}")] = ()
    claims: Annotated[tuple[str, ...], Doc(f"all, or any of {' '.join(CLAIMS)}")] = ()
    tune: Annotated[
        bool, Doc("each rule at the weight scale chosen on validation, and at a common one")
    ] = False
    reduced: Annotated[bool, Doc("few examples and loose bounds: seconds, for CI")] = False
    strict: Annotated[bool, Doc("exit with status 1 if a pass line is not met")] = False
    seed: Annotated[int, Doc("the first of the seeds")] = 0
    seeds: Annotated[int, Doc("how many, counted up from --seed")] = 3
    jobs: Annotated[int, Doc("runs at a time, each on one thread")] = 1
    data: Annotated[Path | None, Doc("folder of data files; None: METAPLASTIC_DATA")] = None
    out: Annotated[Path, Doc("folder of tables, numbers and figures")] = Path("runs/credit")
    debug: Annotated[bool, Doc("show where an error came from")] = False

    @property
    def all_seeds(self) -> range:
        return range(self.seed, self.seed + self.seeds)
