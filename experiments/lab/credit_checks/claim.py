"""The parts of a claim: curves over one quantity, panels, and pass lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from experiments.lab.credit_checks.pass_lines import Line, Runs
from experiments.lab.credit_checks.work import Measured, Work

Value = Callable[[Measured], float]


@dataclass(frozen=True)
class Panel:
    """A panel of a figure: a number of each run, and its axis."""

    y: str
    value: Value
    log: bool = False


@dataclass(frozen=True)
class Claim:
    """A published claim and the runs that test it.

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
