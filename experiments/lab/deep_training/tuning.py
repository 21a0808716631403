"""The choice of a rule's rate by short runs, on held-out training images.

No test image is used. Runs are short, with the same cosine schedule as the final ones. By hand: all
of the rates given are run, kept in folders and tabled, so Optuna would have nothing to choose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from experiments.lab.deep_training.runs import Result, train_run
from experiments.lab.deep_training.trainer import Settings
from experiments.lab.runs.run_folder import read_json
from experiments.lab.settings.registry import ConfigError

HELD_OUT = 0.2
NUMBERS = "results.json"


def tried(
    settings: Settings,
    rates: Sequence[float],
    epochs: int,
    out: Path,
    root: str | None,
    say: Callable[[str], None],
) -> dict[float, float]:
    """Rate -> percent right of the images held out, for the rule of `settings`."""
    found: dict[float, Result] = {}
    for rate in rates:
        short = replace(
            settings, lr=rate, epochs=epochs, held_out=HELD_OUT, every=10**9
        )  # measure only the first and the last angles
        found[rate] = train_run(short, out / "tuning" / settings.rule / f"{rate:g}", root, say)
    return {rate: -1.0 if run["diverged"] else run["accuracy"] for rate, run in found.items()}


def best(found: Mapping[float, float]) -> float:
    """The rate with the highest accuracy; of equal ones the smallest."""
    return max(sorted(found), key=lambda rate: found[rate])


def rates_of(folder: Path, rules: Sequence[str]) -> dict[str, float]:
    """The rates chosen by an earlier command.

    Raises:
        ConfigError: if there is no such file or it lacks a rule.
    """
    path = folder / NUMBERS
    rates = read_json(path, "name the --out folder of a finished command")["rates"]
    if lost := [rule for rule in rules if rule not in rates]:
        raise ConfigError(f"{path} has no rate of {lost[0]!r}: leave the rule out or --rates-of.")
    return {rule: float(rates[rule]) for rule in rules}
