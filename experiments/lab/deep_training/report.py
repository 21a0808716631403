"""The report of deep runs: a table, the numbers, and figures of accuracy and angles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from experiments.lab.credit_checks.report import over, rounded
from experiments.lab.deep_training.config import Deep
from experiments.lab.deep_training.images import NAMES
from experiments.lab.deep_training.runs import Result, finished
from experiments.lab.deep_training.tuning import NUMBERS
from experiments.lab.figures.angle_plots import plot_angles, plot_rules
from experiments.lab.figures.plots import Curve, plot_lines
from experiments.lab.figures.tables import as_markdown
from experiments.lab.runs.run_folder import origin, write_json
from experiments.lab.settings.registry import ConfigError

Found = Mapping[str, Sequence[Result]]  # by rule, in the order of seeds
WEIGHTS = "weight angle, mean of sites"


class Ranged(Curve):
    """A curve whose band is from the lowest to the highest of its runs."""

    def band(self) -> tuple[list[float], list[float]] | None:
        return (list(self.low), list(self.high)) if len(self.runs) > 1 else None


def report(config: Deep) -> None:
    """Write and print what is finished.

    Raises:
        ConfigError: if nothing is.
    """
    every = {
        rule: [finished(config.folder(rule, s)) for s in config.all_seeds] for rule in config.rules
    }
    found = {rule: [run for run in runs if run] for rule, runs in every.items()}
    found = {rule: runs for rule, runs in found.items() if runs}
    if not found:
        raise ConfigError(f"{config.out} holds no finished run of these rules: train first.")
    held_out = {rule: tuned(config, rule) for rule in found}
    settings = next(iter(found.values()))[0]["settings"]
    norm = settings.get("norm", "batch")  # before it was a choice, it was batch
    what = (
        f"{config.network}, {norm} norm, {NAMES[config.data_set]}, batches of {settings['batch']}, "
        f"{settings['precision']}, images {'augmented' if settings['flip_crop'] else 'unchanged'}."
    )
    table = [row(rule, runs, held_out[rule]) for rule, runs in found.items()]
    text = f"{origin()}\n\n{what}\n\n{as_markdown(table, order=())}"
    plots = config.out / "plots"
    plot_accuracy(config, found)
    firsts = {rule: runs[0]["angles"] for rule, runs in found.items()}
    for measure in ("delta", "weight"):
        plot_rules(
            plots / f"{measure}.png", {r.replace("_", " "): a for r, a in firsts.items()}, measure
        )
    for rule, rows in firsts.items():
        plot_angles(plots / "rules" / f"{rule}.png", rows, f"{config.network}: {rule}")
    write_json(
        config.out / NUMBERS,
        {"remark": origin(), "settings": config.record, "table": table, "held_out": held_out}
        | {
            "rates": {rule: runs[0]["settings"]["lr"] for rule, runs in found.items()},
            "runs": found,
        },
    )
    (config.out / "table.md").write_text(text + "\n", encoding="utf-8")
    print(f"{text}\n\nFigures and numbers are in {config.out}.")


def row(rule: str, runs: Sequence[Result], held_out: Mapping[str, float]) -> dict[str, str]:
    """Means over seeds, with their range; angles are those at the end."""
    ends = [last_angles(run["angles"]) for run in runs]
    deltas = [[float(site["delta"]) for site in end][:-1] for end in ends]  # the last is exact
    weights = [[float(s["weight"]) for s in end if s["weight"] is not None] for end in ends]
    shown = {"rule": rule, "accuracy %": over([float(run["accuracy"]) for run in runs])}
    shown["epochs"] = rounded(fmean(len(run["epochs"]) for run in runs))
    shown["minutes"] = rounded(fmean(float(run["minutes"]) for run in runs))
    shown["rate"] = ", ".join(sorted({f"{run['settings']['lr']:g}" for run in runs}))
    shown["held-out %, by rate"] = ", ".join(f"{r}: {rounded(a)}" for r, a in held_out.items())
    for title, place in (("first", 0), ("middle", len(deltas[0]) // 2), ("last", -1)):
        shown[f"delta angle, {title}"] = rounded(fmean(angles[place] for angles in deltas))
    shown[WEIGHTS] = rounded(fmean(map(fmean, weights))) if all(weights) else ""
    shown["seeds"] = str(len(runs))
    if lost := sum(bool(run["diverged"]) for run in runs):
        shown["seeds"] += f", {lost} diverged"
    return shown


def last_angles(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows of the last measurement, a site each."""
    return [one for one in rows if one["step"] == rows[-1]["step"]]


def tuned(config: Deep, rule: str) -> dict[str, float]:
    """What each rate that was tried came to on held-out images, as far as it is there."""
    folder = config.out / "tuning" / rule
    runs = {f"{rate:g}": finished(folder / f"{rate:g}") for rate in config.lrs}
    return {rate: float(run["accuracy"]) for rate, run in runs.items() if run}


def plot_accuracy(config: Deep, found: Found) -> None:
    """Test accuracy after every epoch; of runs that diverged, up to there."""
    curves = {}
    for rule, runs in found.items():
        shortest = min(len(run["epochs"]) for run in runs)
        values = [[float(e["accuracy"]) for e in run["epochs"][:shortest]] for run in runs]
        # A band from seed to seed: of two or three seeds an interval would fill the figure.
        ends = [list(map(end, zip(*values, strict=True))) for end in (min, max)]
        curves[rule.replace("_", " ")] = Ranged(range(1, shortest + 1), values, *ends)
    title = f"{config.network}, {NAMES[config.data_set]}"
    plot_lines(config.out / "plots" / "accuracy.png", curves, "epochs", "accuracy, %", title)
