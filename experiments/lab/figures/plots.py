"""Plots of runs: curves with intervals over seeds, and the parameters of rules.

Figures do not use pyplot, so no display or global setting is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from experiments.lab.figures.labels import readable
from experiments.lab.figures.tables import mean_and_interval

DASHES = ("-", "--", ":")  # of the first as many curves as there are colors, and those after
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7733dd")
"""Okabe & Ito (2008), with a violet in the place of their yellow, which is too pale for lines."""
MARKERS = "osD^vPX*"
WITHIN = 4  # curves whose names find room among them; those of more stand beside the axes
FEW = 3  # points do not make a line: they are marked
WORTH_A_LOG = 8  # a smaller range is easier to read on a linear axis
UNITS = {"plasticity": "rate per inner step", "feedback": "feedback weight", "strength": "strength"}


@dataclass(frozen=True)
class Curve:
    """One method's curve: common `x`, one list of values per run.

    `low` and `high` are the ends of 95 % intervals within a single run, over its lifetimes.
    """

    x: Sequence[float]
    runs: Sequence[Sequence[float]]
    low: Sequence[float] = ()
    high: Sequence[float] = ()

    def band(self) -> tuple[list[float], list[float]] | None:
        """95 % intervals: Student's over several runs, those of its lifetimes for a single one."""
        if len(self.runs) == 1:
            return (list(self.low), list(self.high)) if self.low else None
        ends = [mean_and_interval(values) for values in zip(*self.runs, strict=True)]
        half = [0.0 if width is None else width for _, width in ends]
        mean = [middle for middle, _ in ends]
        return [m - h for m, h in zip(mean, half, strict=True)], [
            m + h for m, h in zip(mean, half, strict=True)
        ]


def plot_lines(
    path: Path,
    curves: Mapping[str, Curve],
    x: str,
    y: str,
    title: str = "",
    *,
    log_y: bool = False,
    markers: bool = False,
) -> None:
    """Save `draw_lines` of these curves as PNG and PDF."""
    save(draw_lines(curves, x, y, title, log_y=log_y, markers=markers), path)


def draw_lines(
    curves: Mapping[str, Curve],
    x: str,
    y: str,
    title: str = "",
    *,
    log_y: bool = False,
    markers: bool = False,
) -> Figure:
    """Mean over runs as a line, its 95 % interval as a band where there is one."""
    beside = len(curves) > WITHIN
    figure = Figure(figsize=(8.8 if beside else 6.4, 4.0), layout="constrained", dpi=150)
    axes = figure.subplots()
    for index, (label, curve) in enumerate(curves.items()):
        color = COLORS[index % len(COLORS)]
        values = np.asarray(curve.runs, dtype=float)
        dash = DASHES[index // len(COLORS) % len(DASHES)]
        mean, name = values.mean(0), readable(label)
        (line,) = axes.plot(curve.x, mean, dash, color=color, label=name, linewidth=1.6)
        if markers or len(curve.x) < FEW:
            line.set_marker(MARKERS[index % len(MARKERS)])
            line.set_markersize(4)
        if (band := curve.band()) is not None:
            axes.fill_between(curve.x, *band, color=color, alpha=0.15, lw=0)
    drawn = np.concatenate(
        [np.asarray(curve.runs, dtype=float).ravel() for curve in curves.values()]
    )
    drawn = drawn[np.isfinite(drawn)]
    if log_y and drawn.size and 0 < WORTH_A_LOG * drawn.min() < drawn.max():
        axes.set_yscale("log")
        # An interval may reach down to almost 0, and would have the axis span decades of nothing.
        axes.set_ylim(bottom=drawn.min() / 2)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    finish(axes, x, y, title)
    if y == "accuracy":  # intervals of a few seeds may reach beyond what there is
        axes.set_ylim(max(axes.get_ylim()[0], -0.02), min(axes.get_ylim()[1], 1.02))
    if len(curves) > 1:
        outside: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
        where = outside if beside else {}
        axes.legend(frameon=False, fontsize=8, handlelength=3.5, **where)  # long enough for dashes
    return figure


def plot_statistics(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Quantiles of every plasticity, feedback and strength parameter over meta-training.

    One panel a parameter: the median, and bands that hold half and nine tenths of its entries.
    """
    logged = [record for record in records if any(key.startswith("rule/") for key in record)]
    names = sorted({key.rpartition("/")[0] for record in logged for key in record if "/q50" in key})
    if not names:
        return
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.4 * rows), layout="constrained", dpi=150)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    steps = [record["step"] for record in logged]
    for axes, name in zip(panels, names, strict=False):
        low, lower, middle, upper, high = (
            [record[f"{name}/{q}"] for record in logged]
            for q in ("q05", "q25", "q50", "q75", "q95")
        )
        axes.fill_between(steps, low, high, color=COLORS[0], alpha=0.15, lw=0, label="9 in 10")
        axes.fill_between(steps, lower, upper, color=COLORS[0], alpha=0.3, lw=0, label="half")
        marker = "o" if len(steps) < FEW else None
        axes.plot(steps, middle, color=COLORS[0], linewidth=1.4, label="median", marker=marker)
        group, _, parameter = name.removeprefix("rule/").partition("/")
        finish(axes, "meta-steps", UNITS.get(group, group), f"{group}: {parameter}")
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=7)
    save(figure, path)


def smooth(values: Sequence[float], window: int) -> list[float]:
    """A centered mean over at most `window` values, shorter at both ends."""
    total = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=float))])
    index = np.arange(len(values))
    half = np.minimum(np.minimum(index, len(values) - 1 - index), window // 2)
    return list((total[index + half + 1] - total[index - half]) / (2 * half + 1))


def finish(axes: Axes, x: str, y: str, title: str) -> None:
    """Set labels and style of a panel."""
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.set_title(title, fontsize=9, loc="left")
    axes.tick_params(labelsize=8, which="both")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path) -> None:
    """Save a figure as PNG and PDF; creates its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    figure.set_layout_engine("none")  # which is laid out by now
    figure.savefig(path.with_suffix(".pdf"))
