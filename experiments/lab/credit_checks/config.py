"""Settings of the checks and claims."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typing_extensions import Doc

from experiments.lab.settings.seeds import OverSeeds

CHECKS = (
    "fa", "dfa", "usf", "frsf", "brsf", "bp", "kp", "wm", "ia", "sa", "aa", "noise", "gait",
    "cifar",
)  # fmt: skip
CLAIMS = ("depth", "mirror", "noise", "signs", "gait")


@dataclass(frozen=True, kw_only=True)
class Credit(OverSeeds):
    """Train by credit-assignment rules; compare with pass lines, or plot a claim."""

    check: Annotated[tuple[str, ...], Doc(f"all, or any of {' '.join(CHECKS)}")] = ()
    claims: Annotated[tuple[str, ...], Doc(f"all, or any of {' '.join(CLAIMS)}")] = ()
    tune: Annotated[
        bool, Doc("each rule at the weight scale chosen on validation, and at a common one")
    ] = False
    reduced: Annotated[bool, Doc("few examples and loose bounds: seconds, for CI")] = False
    strict: Annotated[bool, Doc("exit with status 1 if a pass line is not met")] = False
    jobs: Annotated[int, Doc("runs at a time, each on one thread")] = 1
    out: Annotated[Path, Doc("folder of tables, numbers and figures")] = Path("runs/credit")
