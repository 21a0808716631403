"""Verdicts and measurements as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from experiments.lab.credit_checks.checks import Check
from experiments.lab.credit_checks.pass_lines import Verdict
from experiments.lab.credit_checks.work import Found

CheckVerdicts = Sequence[tuple[Check, Sequence[Verdict]]]


def verdict_rows(checks: CheckVerdicts) -> list[dict[str, str]]:
    """A row for each pass line: the mean over seeds, their range, and whether the line is met."""
    table = []
    for check, verdicts in checks:
        for number, verdict in enumerate(verdicts):
            low, high = min(verdict.values), max(verdict.values)
            table.append(
                {
                    "rule": check.rule if number == 0 else "",
                    "setting": check.setting if number == 0 else "",
                    "measure": verdict.line.text,
                    "mean": rounded(verdict.mean),
                    "seeds": rounded(low)
                    + (f" to {rounded(high)}" if len(verdict.values) > 1 else ""),
                    "pass line": f"{verdict.line.relation} {verdict.bound:g}",
                    "": "met" if verdict.met else "NOT met",
                    "seeds that meet it": f"{verdict.seeds_met} of {len(verdict.values)}",
                }
            )
    return table


def run_rows(checks: CheckVerdicts, found: Found) -> list[dict[str, str]]:
    """A row for each run: accuracy over seeds, and angles from the input up, means over seeds."""
    known: dict[str, str] = {}
    for check, _ in checks:
        for number, name in enumerate(check.runs):
            known.setdefault(name, "")
            if number == 0:
                known[name] = check.known
    return [_run_row(name, found[name]) | {"known before": known[name]} for name in known]


def _run_row(name: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    row = dict.fromkeys(("run", "accuracy %", "delta angle", "weight angle", "ratio"), "")
    row["run"] = name
    if "accuracy" in runs[0]:
        row["accuracy %"] = over([float(run["accuracy"]) for run in runs])
    for key, title in (("delta", "delta angle"), ("weight", "weight angle"), ("ratio", "ratio")):
        if any(runs[0].get(key, ())):
            row[title] = sites([run[key] for run in runs])
    if "error_at" in runs[0]:
        row["delta angle"] = ", ".join(
            f"{fmean(run['delta_at'][step] for run in runs):.1f} at {step}"
            for step in runs[0]["delta_at"]
        )
        row["error"] = ", ".join(
            f"{fmean(run['error_at'][step] for run in runs):.2g} at {step}"
            for step in runs[0]["error_at"]
        )
    row["seconds"] = f"{fmean(run['seconds'] for run in runs):.0f}"
    return row


def over(values: Sequence[float]) -> str:
    """A mean and the range it comes from: few seeds have no interval worth its name."""
    if len(values) == 1:
        return rounded(values[0])
    return f"{rounded(fmean(values))} ({rounded(min(values))} to {rounded(max(values))})"


def sites(runs: Sequence[Sequence[float]]) -> str:
    """Means over seeds, site by site."""
    return " / ".join(rounded(fmean(map(float, values))) for values in zip(*runs, strict=True))


def rounded(value: float) -> str:
    """Three figures, but no more than one decimal of what is above 10."""
    return f"{value:.1f}" if 10 <= abs(value) < 10_000 else f"{value:.3g}"
