"""The table of all cells, and the rule's gains over them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from experiments.lab.figures.tables import as_markdown
from experiments.lab.transfer.cells import ADAM, RULE, SGD

FROM = 100  # examples, from which on a cell has columns of its own


def report(cells: Mapping[str, Mapping[str, Any]], marks: Sequence[int]) -> str:
    """A row for each cell, means over cells, and what the rule gains on average over them."""
    rows = [row(name, cell, marks) for name, cell in cells.items()]
    lines = [as_markdown(rows, order=()), "", means(cells, marks), ""]
    for place in shown(marks):
        for baseline in (SGD, ADAM):
            ratios = [ratio(cell, baseline, place) for cell in cells.values()]
            low = min(ratios)
            where = list(cells)[ratios.index(low)]
            enough = sum(r >= 0.97 for r in ratios)
            lines.append(
                f"* Of {baseline}'s accuracy after {marks[place]} examples: {interval(ratios)} % "
                f"on average over {len(ratios)} cells (95 %). The least is {100 * low:.1f} % "
                f"({where}); {enough} have 97 % or more."
            )
    return "\n".join(lines)


def shown(marks: Sequence[int]) -> list[int]:
    """The places of the marks from 100 examples on; of the first and the last if 100 is none."""
    if FROM not in marks:
        return sorted({0, len(marks) - 1})
    return list(range(marks.index(FROM), len(marks)))


def means(cells: Mapping[str, Mapping[str, Any]], marks: Sequence[int]) -> str:
    """Accuracy at every mark, mean over cells, with half a 95 % interval over seeds."""
    rows = []
    for label in (SGD, ADAM, RULE):
        of_cells = np.stack(
            [np.asarray(cell[label]["accuracy"]).mean(1) for cell in cells.values()]
        )
        of_seeds = 100 * of_cells.mean(0)  # seeds marks
        values = {str(mark): _value(of_seeds[:, place]) for place, mark in enumerate(marks)}
        rows.append({f"mean over {len(cells)} cells, % after examples": label, **values})
    return as_markdown(rows, order=())


def row(name: str, cell: Mapping[str, Any], marks: Sequence[int]) -> dict[str, str]:
    """Accuracy from 100 examples on, mean over seeds with half a 95 % interval."""
    task, order, network = name.split(" ")
    found = {"images": task, "order": order, "network": network}
    for place in shown(marks):
        for label in (SGD, ADAM, RULE):
            of_seeds = np.asarray(cell[label]["accuracy"])[:, :, place].mean(1) * 100
            found[f"{label}, {marks[place]}"] = _value(of_seeds)
    found["rates"] = f"{cell[SGD]['rate']:.3g}, {cell[ADAM]['rate']:.3g}"
    for baseline in (SGD, ADAM):
        found[f"% of {baseline.split(', ')[1]}"] = f"{100 * ratio(cell, baseline, -1):.0f}"
    return found


def ratio(cell: Mapping[str, Any], baseline: str, place: int) -> float:
    """The rule's accuracy by the baseline's, both means over all lifetimes."""
    rule, other = (np.asarray(cell[label]["accuracy"])[:, :, place] for label in (RULE, baseline))
    return float(rule.mean() / other.mean())


def interval(ratios: Sequence[float]) -> str:
    """Mean and 95 % interval over cells, in percent."""
    half = _half(100 * np.asarray(ratios))
    mean = 100 * float(np.mean(ratios))
    return (
        f"{mean:.1f}"
        if math.isnan(half)
        else f"{mean:.1f} ({mean - half:.1f} to {mean + half:.1f})"
    )


def _value(of_seeds: Any) -> str:
    """The mean over seeds, with half its interval if there are several."""
    spread = _half(of_seeds)
    return f"{of_seeds.mean():.1f}" + ("" if math.isnan(spread) else f" ± {spread:.1f}")


def _half(values: Any) -> float:
    """Half of a 95 % interval of the mean, by Student's t; nan for a single value."""
    count = len(values)
    if count < 2:
        return math.nan
    return float(stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
