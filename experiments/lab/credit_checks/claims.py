"""Claims of the papers, each an experiment with a figure: curves over one quantity, and pass lines.

A file `claim_NAME.py` holds one `CLAIM`. Networks, sweeps and bounds were chosen on seed 0, some
after a first choice had too small an effect; so evaluate on other seeds (`--seed 10`).
"""

from __future__ import annotations

import importlib
from statistics import fmean

from experiments.lab.credit_checks.claim import Claim, Panel, at
from experiments.lab.credit_checks.config import Credit
from experiments.lab.credit_checks.figures import draw
from experiments.lab.credit_checks.pass_lines import verdicts_on
from experiments.lab.credit_checks.report import over, rounded
from experiments.lab.credit_checks.work import Found, measured, prepared
from experiments.lab.figures.tables import as_markdown
from experiments.lab.runs.run_folder import origin, write_json


def claim(name: str) -> Claim:
    found: Claim = importlib.import_module(f"experiments.lab.credit_checks.claim_{name}").CLAIM
    return found


def show(config: Credit, name: str) -> int:
    """Run a claim, write its figure, table and numbers; returns the number of lines not met."""
    chosen = claim(name)
    runs = {at(label, x): work for label, row in chosen.curves.items() for x, work in row.items()}
    runs = prepared(runs, config)
    found = measured(runs, config.all_seeds, config.jobs, name)
    verdicts = verdicts_on(chosen.lines, found, reduced=config.reduced)
    tables = [_points(chosen, found, panel) for panel in chosen.panels]
    lines = [
        {
            "measure": verdict.line.text,
            "mean over seeds (range)": over(verdict.values),
            "pass line": f"{verdict.line.relation} {verdict.bound:g}",
            "": "met" if verdict.met else "NOT met",
        }
        for verdict in verdicts
    ]
    parts = [f"**{chosen.sentence}**", *(as_markdown(table, order=()) for table in tables)]
    text = "\n\n".join([origin(), *parts, as_markdown(lines, order=()) if lines else ""])
    root = config.out / "claims"
    write_json(root / f"{name}.json", {"claim": chosen.sentence, "runs": found, "lines": lines})
    (root / f"{name}.md").write_text(text.rstrip() + "\n", encoding="utf-8")
    draw(root / f"{name}.png", chosen, found)
    print(f"{text.rstrip()}\n\nIts figure is {root / name}.png.")
    return sum(not verdict.met for verdict in verdicts)


def _points(chosen: Claim, found: Found, panel: Panel) -> list[dict[str, str]]:
    """A row for each curve, a column for each place: means over seeds."""
    return [
        {f"{panel.y}, by {chosen.x}": label}
        | {f"{x:g}": rounded(fmean(panel.value(run) for run in found[at(label, x)])) for x in row}
        for label, row in chosen.curves.items()
    ]
