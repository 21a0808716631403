"""Pass lines: one number of one seed against a bound, and the verdict over seeds."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

Runs = Mapping[str, Mapping[str, Any]]  # of one seed: what each run of a check measured
Relation = Literal["<", "<=", ">", ">="]
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A bound on a number of a check.

    Args:
        loose: the bound for a reduced run; None if there is none.
    """

    text: str
    value: Callable[[Runs], float]
    relation: Relation
    bound: float
    loose: float | None = None


@dataclass(frozen=True)
class Verdict:
    """A line over seeds: it is met where the mean meets the bound; single seeds are counted."""

    line: Line
    bound: float
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return fmean(self.values)

    @property
    def met(self) -> bool:
        return self._holds(self.mean)

    @property
    def seeds_met(self) -> int:
        return sum(map(self._holds, self.values))

    def _holds(self, value: float) -> bool:
        # An infinite error is beyond any bound; one that is not a number meets none.
        return not math.isnan(value) and COMPARE[self.line.relation](value, self.bound)


def verdicts_on(
    lines: Sequence[Line], found: Mapping[str, Sequence[Mapping[str, Any]]], *, reduced: bool
) -> list[Verdict]:
    """The verdict on every line with a bound at this size; `found` is by run, then seed."""
    seeds = len(next(iter(found.values())))
    by_seed = [{name: runs[seed] for name, runs in found.items()} for seed in range(seeds)]
    verdicts = []
    for line in lines:
        bound = line.loose if reduced else line.bound
        if bound is not None:
            verdicts.append(Verdict(line, bound, tuple(line.value(runs) for runs in by_seed)))
    return verdicts


def accuracy(run: str) -> Callable[[Runs], float]:
    return lambda runs: float(runs[run]["accuracy"])


def lead(run: str, other: str) -> Callable[[Runs], float]:
    """By how many points one run is above another."""
    return lambda runs: float(runs[run]["accuracy"]) - float(runs[other]["accuracy"])


def largest(run: str, key: str) -> Callable[[Runs], float]:
    """Over sites; not a number, if one of them is not."""
    return lambda runs: _worst([float(value) for value in runs[run][key]])


def mean(run: str, key: str) -> Callable[[Runs], float]:
    """Over sites."""
    return lambda runs: fmean(map(float, runs[run][key]))


def smallest(run: str, key: str) -> Callable[[Runs], float]:
    return lambda runs: -_worst([-float(value) for value in runs[run][key]])


def top(run: str, key: str = "weight") -> Callable[[Runs], float]:
    """At the last site."""
    return lambda runs: float(runs[run][key][-1])


def rise(run: str, key: str) -> Callable[[Runs], float]:
    """The largest step up along a curve; below 0 if it falls all the time."""
    return lambda runs: _worst(
        [after - before for before, after in zip(runs[run][key], runs[run][key][1:], strict=False)]
    )


def below(
    value: Callable[[Runs], float], other: Callable[[Runs], float]
) -> Callable[[Runs], float]:
    """By how much one value is below another."""
    return lambda runs: other(runs) - value(runs)


def at(run: str, key: str, step: int) -> Callable[[Runs], float]:
    """A value that was recorded at a step."""
    return lambda runs: float(runs[run][key][str(step)])


def _worst(values: Sequence[float]) -> float:
    return math.nan if any(map(math.isnan, values)) else max(values)
