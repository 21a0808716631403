"""Claims of the papers, each an experiment with a figure: curves over one quantity, and pass lines.

A file `claim_NAME.py` holds one `CLAIM`. Networks, sweeps and bounds were settled on seed 0, some
of them after a first choice had shown too small an effect; so judge by other seeds (`--seed 10`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from experiments.credit_checks.lines import Line, Runs, judged
from experiments.credit_checks.report import over, spoken
from experiments.credit_checks.work import Found, Measured, Work, measured
from experiments.run_folder import origin, write_json
from experiments.tables import as_markdown

if TYPE_CHECKING:
    from experiments.credit import Credit

Value = Callable[[Measured], float]


@dataclass(frozen=True)
class Panel:
    """One view of the runs: a number of each, and how its axis is to be drawn."""

    y: str
    value: Value
    log: bool = False


@dataclass(frozen=True)
class Claim:
    """A sentence, and what has to be run to see it.

    Args:
        curves: by label, the work at each place of the horizontal axis.
        lines: pass lines, whose runs are named by `at`.
    """

    sentence: str
    x: str
    curves: Mapping[str, Mapping[float, Work]]
    panels: tuple[Panel, ...]
    lines: tuple[Line, ...]
    log_x: bool = False


def at(label: str, x: float) -> str:
    """The name of one run."""
    return f"{label} at {x:g}"


def point(label: str, x: float, value: Value) -> Callable[[Runs], float]:
    """For a pass line: a number of one run."""
    return lambda runs: value(dict(runs[at(label, x)]))


def accuracy(run: Mapping[str, Any]) -> float:
    return float(run["accuracy"])


def first_delta(run: Mapping[str, Any]) -> float:
    """At the site that is farthest from the output."""
    return float(run["delta"][0])


def top_weight(run: Mapping[str, Any]) -> float:
    return float(run["weight"][-1])


def mean_ratio(run: Mapping[str, Any]) -> float:
    return fmean(map(float, run["ratio"]))


def claim(name: str) -> Claim:
    found: Claim = importlib.import_module(f"experiments.credit_checks.claim_{name}").CLAIM
    return found


def show(config: Credit, name: str) -> int:
    """Run a claim, write its figure, table and numbers; how many of its lines are not met."""
    from experiments.credit import prepared
    from experiments.credit_checks.figures import draw

    asked = claim(name)
    works = {at(label, x): work for label, row in asked.curves.items() for x, work in row.items()}
    works = prepared(works, config)
    found = measured(works, config.all_seeds, config.jobs, name)
    verdicts = judged(asked.lines, found, reduced=config.reduced)
    tables = [_points(asked, found, panel) for panel in asked.panels]
    answers = [
        {
            "measure": verdict.line.text,
            "mean over seeds (range)": over(verdict.values),
            "pass line": f"{verdict.line.relation} {verdict.bound:g}",
            "": "met" if verdict.met else "NOT met",
        }
        for verdict in verdicts
    ]
    parts = [f"**{asked.sentence}**", *(as_markdown(table, order=()) for table in tables)]
    text = "\n\n".join([origin(), *parts, as_markdown(answers, order=()) if answers else ""])
    root = config.out / "claims"
    write_json(root / f"{name}.json", {"claim": asked.sentence, "runs": found, "lines": answers})
    (root / f"{name}.md").write_text(text.rstrip() + "\n", encoding="utf-8")
    draw(root / f"{name}.png", asked, found)
    print(f"{text.rstrip()}\n\nIts figure is {root / name}.png.")
    return sum(not verdict.met for verdict in verdicts)


def _points(asked: Claim, found: Found, panel: Panel) -> list[dict[str, str]]:
    """A row for each curve, a column for each place: means over seeds."""
    return [
        {f"{panel.y}, by {asked.x}": label}
        | {f"{x:g}": spoken(fmean(panel.value(run) for run in found[at(label, x)])) for x in row}
        for label, row in asked.curves.items()
    ]
