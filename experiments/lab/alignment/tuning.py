"""Where a default does not align: the setting that does best on another data set and seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from experiments.lab.alignment.config import CANDIDATES, Align, Setting
from experiments.lab.alignment.following import Run, stored

ALIGNED = 20.0  # degrees, mean of sites, within the examples of a run
LARGEST = 3.0  # mean norm of feedback over that of weights, or its inverse, that is still of use
OTHER_SEED = 1000  # added to --seed


def fails(runs: Sequence[Run]) -> bool:
    """Whether a setting diverges, does not align, or aligns with feedback of another size."""
    return (
        any(run["diverged"] for run in runs)
        or fmean(run["angle"][-1] for run in runs) > ALIGNED
        or any(_off(run) for run in runs)
    )


def chosen(
    config: Align, failed: Sequence[Setting], say: Callable[[str], None]
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(rule, network) -> what each candidate came to on the other data, the chosen one first."""
    found = {}
    for setting in failed:
        rows = []
        for options in ({}, *CANDIDATES[setting.rule]):
            tried = replace(
                setting, way="online", options=dict(options), data_set=config.tune_set,
                weight_decay=0.0,
            )  # fmt: skip
            run = stored(tried, config.seed + OTHER_SEED, config.root, config.out)
            rows.append(
                {
                    "options": dict(options), "angle": run["angle"][-1], "ratio": run["ratio"][-1],
                    "accuracy": run["accuracy"], "diverged": run["diverged"],
                }
            )  # fmt: skip
            say(f"{tried.network}, {tried.label}")
        found[setting.rule, setting.network] = sorted(rows, key=_worth)
    return found


def _worth(row: Mapping[str, Any]) -> tuple[bool, bool, float]:
    """Runs that hold before those that diverge, feedback of use before others, then angles."""
    return bool(row["diverged"]), not 1 / LARGEST <= row["ratio"] <= LARGEST, row["angle"]


def _off(run: Run) -> bool:
    return not 1 / LARGEST <= run["ratio"][-1] <= LARGEST
