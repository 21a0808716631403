"""Where a default does not align: the setting that does best on another data set and seed.

By hand: all of a few named settings are run and tabled, so Optuna would have nothing to choose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from experiments.lab.alignment.config import CANDIDATES, Align, Setting
from experiments.lab.alignment.following import stored
from experiments.lab.runs.stored import Run

ALIGNED = 20.0  # degrees, mean of sites, within the examples of a run
OTHER_SEED = 1000  # added to --seed


def fails(runs: Sequence[Run]) -> bool:
    """Whether a setting diverges or does not align."""
    return any(run["diverged"] for run in runs) or fmean(run["angle"][-1] for run in runs) > ALIGNED


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
                    "delta": run["delta"][1], "accuracy": run["accuracy"],
                    "diverged": run["diverged"],
                }
            )  # fmt: skip
            say(f"{tried.network}, {tried.label}")
        found[setting.rule, setting.network] = sorted(rows, key=_worth)
    return found


def _worth(row: Mapping[str, Any]) -> tuple[bool, float]:
    """Runs that hold before those that diverge; then by the angle between errors and backprop's.

    That angle is what matters: where inputs fill few directions, W and B may differ in the others.
    """
    return bool(row["diverged"]), float(row["delta"] or 0)
