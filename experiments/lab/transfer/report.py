"""Table and figure of the transfer of a rule to other networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from experiments.lab.figures.plots import COLORS, Curve, finish, save
from experiments.lab.figures.tables import over_seeds

SHOWN = (25, 50, 100, 250)  # examples, as columns
REFERENCE = "backprop"
SHARE = f"% of {REFERENCE}"


def table(networks: Mapping[str, Any], evaluation_steps: Sequence[int]) -> list[dict[str, str]]:
    """A row for each network and method: accuracy over seeds, and its share of backprop's."""
    rows = []
    for name, found in networks.items():
        best = fmean(curve[-1] for curve in found["methods"][REFERENCE]["accuracy"])
        for label, method in found["methods"].items():
            curves = method["accuracy"]
            row = {"network": name, "accuracy % after examples": label}
            row["rate or rate scale"] = f"{method['rate']:.3g}"
            for place, count in enumerate(evaluation_steps):
                if count in (*SHOWN, evaluation_steps[-1]):
                    row[str(count)] = over_seeds([100 * c[place] for c in curves], "{:.1f}")
            mean = fmean(curve[-1] for curve in curves)
            row[SHARE] = f"{100 * mean / best:.0f}" if best else "none"
            rows.append(row)
    return rows


def plot(
    path: Path, networks: Mapping[str, Any], evaluation_steps: Sequence[int], task: str
) -> None:
    """A panel for each network: accuracy against examples seen."""
    figure = Figure(figsize=(3.4 * len(networks), 3.6), layout="constrained", dpi=150)
    panels = figure.subplots(1, len(networks), squeeze=False, sharey=True)[0]
    for axes, (name, found) in zip(panels, networks.items(), strict=True):
        for color, (label, method) in zip(COLORS, found["methods"].items(), strict=False):
            curve = Curve(evaluation_steps, method["accuracy"])
            means = [fmean(values) for values in zip(*curve.runs, strict=True)]
            axes.plot(evaluation_steps, means, color=color, label=label, linewidth=1.5)
            if (band := curve.band()) is not None:
                axes.fill_between(evaluation_steps, *band, color=color, alpha=0.12, lw=0)
        axes.set_ylim(0, 1)
        finish(axes, "examples seen", f"accuracy, {task}" if axes is panels[0] else "", name)
    panels[0].legend(frameon=False, fontsize=7)
    save(figure, path)
