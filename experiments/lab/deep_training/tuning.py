"""The rate of a rule: the one that does best, in a short run, on training images held out.

No test image has a say. Runs are short, and half a cosine wave long as the later ones are.
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
        )  # of angles only the first and the last are asked
        found[rate] = train_run(short, out / "tuning" / settings.rule / f"{rate:g}", root, say)
    return {rate: -1.0 if run["diverged"] else run["accuracy"] for rate, run in found.items()}


def best(found: Mapping[float, float]) -> float:
    """The rate with the highest accuracy; of equal ones the smallest."""
    return max(sorted(found), key=lambda rate: found[rate])


def rates_of(folder: Path, rules: Sequence[str]) -> dict[str, float]:
    """The rates that an earlier command has chosen.

    Raises:
        ConfigError: if there is no such file or it lacks a rule.
    """
    path = folder / NUMBERS
    rates = read_json(path, "name the --out folder of a finished command")["rates"]
    if lost := [rule for rule in rules if rule not in rates]:
        raise ConfigError(f"{path} has no rate of {lost[0]!r}: leave the rule out or --rates-of.")
    return {rule: float(rates[rule]) for rule in rules}
