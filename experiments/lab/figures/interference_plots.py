"""Figures of interference: the matrices, and the mean change against distance in the stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor, log10
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

from experiments.lab.figures.labels import readable
from experiments.lab.figures.plots import COLORS, finish, save

Found = Mapping[str, Sequence[Mapping[str, Any]]]


LETTERS = 24  # of a line beside a matrix


def plot_matrices(path: Path, found: Found) -> None:
    """A row per rule, a column per part of the lifetime that is over and kind of update.

    The color scale is common to all.
    """
    matrices = [[np.array(row["matrix"]) for row in rows] for rows in found.values()]
    sizes = np.abs(np.concatenate([matrix.ravel() for row in matrices for matrix in row]))
    largest = float(sizes[np.isfinite(sizes)].max(initial=0.0)) or 1.0
    scale = SymLogNorm(linthresh=largest / 1000, vmin=-largest, vmax=largest)
    columns = len(matrices[0])
    size = (1.6 * columns + 1, 1.7 * len(matrices) + 0.6)
    figure = Figure(figsize=size, layout="constrained", dpi=150)
    panels = figure.subplots(len(matrices), columns, squeeze=False)
    for (label, rows), axes_row, row in zip(found.items(), panels, matrices, strict=True):
        for of, axes, matrix in zip(rows, axes_row, row, strict=True):
            image = axes.imshow(matrix, cmap="RdBu_r", norm=scale, interpolation="nearest")
            axes.set_title(f"{of['update']}, after {of['fraction']:.0%}", fontsize=8)
            axes.tick_params(labelsize=6)
        axes_row[0].set_ylabel(f"{fill(readable(label), LETTERS)}\nlearned example", fontsize=8)
    for axes in panels[-1]:
        axes.set_xlabel("evaluated example", fontsize=8)
    bar = figure.colorbar(image, ax=panels, shrink=0.8)
    bar.set_label("change of loss (increase is red)", fontsize=8)
    decades = [10.0**k for k in range(floor(log10(largest)) - 2, floor(log10(largest)) + 1)]
    bar.set_ticks([*(-one for one in decades), 0, *decades], labels=_signed(decades), fontsize=7)
    bar.ax.minorticks_off()
    save(figure, path)


def _signed(decades: Sequence[float]) -> list[str]:
    """Labels of their negatives, 0, and themselves."""
    return [*(f"-{one:g}" for one in decades), "0", *(f"{one:g}" for one in decades)]


def plot_distances(path: Path, found: Found) -> None:
    """Mean change of loss against distance in the stream, at the middle fraction measured.

    Of several seeds the band is their range.
    """
    figure = Figure(figsize=(6.4, 4.8), layout="constrained", dpi=150)
    axes = figure.subplots()
    fractions = list(dict.fromkeys(row["fraction"] for row in next(iter(found.values()))))
    middle = fractions[len(fractions) // 2]
    for index, (label, rows) in enumerate(found.items()):
        for row in rows:
            if row["fraction"] == middle:
                rule, color = row["update"] == "rule", COLORS[index % len(COLORS)]
                name = readable(label)
                axes.plot(
                    row["distance"], row["by_distance"], color=color, linewidth=1.4,
                    linestyle="-" if rule else ":",
                    label=name if rule else f"{name}, gradient of equal norm",
                )  # fmt: skip
                if ends := row.get("by_distance_range"):
                    axes.fill_between(row["distance"], *ends, color=color, alpha=0.12, lw=0)
    axes.set_yscale("symlog", linthresh=1e-3)
    axes.axhline(0, color="#999999", linewidth=0.6)
    title = f"after {middle:g} of the lifetime; negative distances are past examples"
    finish(axes, "steps from the learned to the evaluated example", "change of loss", title)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=7)
    save(figure, path)
