"""Figures of angles over training: a panel for each measure or rule, a line for each site.

Sites differ by color, from the input (dark) to the output (light).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.lab.figures.plots import FEW, finish, save
from metaplastic.online.credit_log import MEASURES

Rows = Sequence[Mapping[str, Any]]  # of an AngleLog
LABELS = {
    "weight": "weight angle, degrees", "local": "local angle, degrees",
    "delta": "delta angle, degrees", "ratio": "norm of B over W",
}  # fmt: skip
NAMED = 8  # sites; of more, only the first, the middle and the last are named
RIGHT = 90.0


def plot_angles(path: Path, rows: Rows, title: str = "") -> None:
    """All measures of one run; a measure that the rule does not have is an empty panel."""
    figure = Figure(figsize=(9.0, 6.0), layout="constrained", dpi=110)
    panels = list(figure.subplots(2, 2).flatten())
    for axes, measure in zip(panels, MEASURES, strict=True):
        _draw(axes, rows, measure)
        finish(axes, "minibatches", LABELS[measure], "")
    figure.suptitle(title, fontsize=10)
    _name_sites(figure, panels)
    save(figure, path)


def plot_rules(path: Path, runs: Mapping[str, Rows], measure: str = "delta") -> None:
    """One measure of several runs, a panel for each."""
    columns = min(4, len(runs))
    lines = -(-len(runs) // columns)
    figure = Figure(figsize=(3.0 * columns, 2.5 * lines + 0.4), layout="constrained", dpi=90)
    panels = list(figure.subplots(lines, columns, squeeze=False, sharey=True).flatten())
    for axes, (label, rows) in zip(panels, runs.items(), strict=False):
        _draw(axes, rows, measure)
        finish(axes, "minibatches", LABELS[measure], label)
        axes.xaxis.get_major_locator().set_params(nbins=5)
        axes.label_outer()
    for axes in panels[len(runs) :]:
        axes.set_visible(False)
    _name_sites(figure, panels)
    save(figure, path)


def _draw(axes: Axes, rows: Rows, measure: str) -> None:
    sites = list(dict.fromkeys(row["site"] for row in rows))
    colors = colormaps["viridis"]
    for place, site in enumerate(sites):
        own = [row for row in rows if row["site"] == site and row[measure] is not None]
        if not own:
            continue
        color = colors(0.95 * place / max(1, len(sites) - 1))
        steps, values = [row["step"] for row in own], [float(row[measure]) for row in own]
        marker = "o" if len(own) < FEW else None
        axes.plot(steps, values, color=color, label=site, linewidth=1.2, marker=marker)
    if measure == "ratio":
        axes.axhline(1.0, color="#999999", linewidth=0.8, linestyle=":")
    else:
        axes.axhline(RIGHT, color="#999999", linewidth=0.8, linestyle=":")
        axes.set_ylim(-2, max(100.0, axes.get_ylim()[1]))


def _name_sites(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend for all, of the panel that has the most lines."""
    handles, labels = max((a.get_legend_handles_labels() for a in panels), key=lambda h: len(h[1]))
    if len(labels) > NAMED:
        few = (0, len(labels) // 2, len(labels) - 1)
        handles, labels = [handles[i] for i in few], [f"site {labels[i]}" for i in few]
    figure.legend(
        handles, labels, loc="outside lower center", ncols=NAMED, frameon=False, fontsize=8
    )
