"""A claim's figure: a panel for each view, a line for each curve, a band from seed to seed."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from experiments.lab.credit_checks.claim import Claim, at
from experiments.lab.credit_checks.work import Found
from experiments.lab.figures.plots import COLORS, MARKERS, finish, save

LETTERS = 60  # of a title over a panel


def draw(path: Path, claim: Claim, found: Found) -> None:
    """Save `figure_of` the claim as PNG and PDF."""
    save(figure_of(claim, found), path)


def figure_of(claim: Claim, found: Found) -> Figure:
    """Means over seeds; the band is their range."""
    figure = Figure(figsize=(4.4 * len(claim.panels), 3.9), layout="constrained", dpi=150)
    panels = figure.subplots(1, len(claim.panels), squeeze=False)[0]
    ticks = sorted({x for row in claim.curves.values() for x in row})
    for axes, panel in zip(panels, claim.panels, strict=True):
        for index, (label, row) in enumerate(claim.curves.items()):
            values = np.array([[panel.value(run) for run in found[at(label, x)]] for x in row])
            color = COLORS[index % len(COLORS)]
            axes.plot(
                list(row), values.mean(1), color=color, label=label, linewidth=1.6,
                marker=MARKERS[index % len(MARKERS)], markersize=4,
            )  # fmt: skip
            axes.fill_between(
                list(row), values.min(1), values.max(1), color=color, alpha=0.15, lw=0
            )
        finish(axes, claim.x, panel.y, "")
        if panel.log:
            axes.set_yscale("log")
        if claim.log_x:
            if ticks[0] > 0:
                axes.set_xscale("log")
            else:  # the step from 0 to the first is as wide as a decade
                axes.set_xscale("symlog", linthresh=ticks[1])
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    figure.suptitle(fill(claim.sentence, LETTERS * len(panels)), fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=2 * len(panels), frameon=False,
        fontsize=8,
    )  # fmt: skip
    return figure
