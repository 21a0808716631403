"""The figure of how cost grows, from what the row `growth` of the speed table keeps as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from experiments.lab.figures.plots import COLORS, MARKERS, finish, save

COLUMNS = 3
WIDEST = 34  # characters of a title in a line
Found = Mapping[str, Any]


def plot_growth(path: Path, findings: Sequence[Found]) -> None:
    """Save `draw_growth` as PNG and PDF."""
    save(draw_growth(findings), path)


def draw_growth(findings: Sequence[Found]) -> Figure:
    """Log-log panels, one column an axis: time above memory, with the fitted line.

    The band is from the lowest to the highest round; memory is measured once.
    """
    drawn = [found for found in findings if found["series"]]
    pairs = list(zip(drawn[::2], drawn[1::2], strict=True))
    blocks = -(-len(pairs) // COLUMNS)
    columns = min(COLUMNS, len(pairs))
    figure = Figure(figsize=(3.2 * columns, 4.6 * blocks), layout="constrained", dpi=150)
    panels = figure.subplots(2 * blocks, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_visible(False)
    for index, pair in enumerate(pairs):
        block, column = divmod(index, COLUMNS)
        for kind, found in enumerate(pair):
            draw_panel(panels[2 * block + kind, column], found, kind)
    return figure


def draw_panel(axes: Axes, found: Found, kind: int) -> None:
    """Costs by size in the color of their kind: 0 for time, 1 for memory."""
    series, fit, color = found["series"], found["detail"], COLORS[kind]
    sizes, name = np.asarray(series["sizes"], dtype=float), "memory" if kind else "time"
    axes.set_visible(True)
    axes.fill_between(sizes, series["lowest"], series["highest"], color=color, alpha=0.15, lw=0)
    axes.plot(
        sizes, series["middle"], color=color, marker=MARKERS[kind], markersize=4, linewidth=0,
        label="measured",
    )  # fmt: skip
    if fit:
        law = fit["factor"] * sizes ** fit["exponent"]
        said = f"exponent {fit['exponent']:.2f}, s.e. {fit['standard_error']:.2f}"
        axes.plot(sizes, law, color=color, linewidth=1.2, label=said)
    what = fill(found["what"].rpartition(":")[0], WIDEST, break_on_hyphens=False)
    finish(axes, series["axis"], f"{name}, {series['unit']}", what if kind == 0 else "")
    log_scales(axes, sizes, [*series["lowest"], *series["highest"]])
    axes.legend(frameon=False, fontsize=7, loc="upper left")


def log_scales(axes: Axes, sizes: np.ndarray, costs: Sequence[float]) -> None:
    """Both axes logarithmic, with a tick at every size, and at least a decade of costs."""
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    above = [cost for cost in costs if cost > 0]
    if not above:
        return
    axes.set_yscale("log")
    middle = float(np.sqrt(min(above) * max(above)))
    axes.set_ylim(min(min(above) / 1.5, middle / 4), max(max(above) * 2.5, middle * 4))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
