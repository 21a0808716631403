"""The exponent of a cost, its goal, and the line that tells both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from experiments.benchmarks import Finding
from experiments.benchmarks.memory import peak_mb


@dataclass(frozen=True)
class Fit:
    """Cost = `factor` size^`exponent`, with the standard error of the exponent."""

    exponent: float
    standard_error: float
    factor: float


def fit(sizes: Sequence[float], costs: Sequence[float]) -> Fit | None:
    """Least squares on logarithms, of three sizes at least; None where a cost is not above 0."""
    if min(costs) <= 0:
        return None
    x, y = np.log(np.asarray(sizes, dtype=float)), np.log(np.asarray(costs, dtype=float))
    (slope, start), covariance = np.polyfit(x, y, 1, cov=True)
    return Fit(float(slope), float(np.sqrt(covariance[0, 0])), float(np.exp(start)))


@dataclass(frozen=True)
class Goal:
    """What a cost should be: a sentence, and whether a fit and the costs satisfy it."""

    said: str = ""
    holds: Callable[[Fit | None, Sequence[float]], bool] | None = None


NONE = Goal()


def at_most(exponent: float) -> Goal:
    return Goal(
        f"exponent at most {exponent:g}",
        lambda found, _: found is not None and found.exponent <= exponent,
    )


def near_zero(exponent: float) -> Goal:
    return Goal(
        f"exponent between -{exponent:g} and {exponent:g}",
        lambda found, _: found is not None and abs(found.exponent) <= exponent,
    )


def flat(exponent: float, megabytes: float) -> Goal:
    """Of memory, where an exponent says little if there is next to none."""

    def holds(found: Fit | None, costs: Sequence[float]) -> bool:
        grown = costs[-1] - costs[0]
        return grown <= megabytes or (found is not None and found.exponent <= exponent)

    return Goal(f"exponent at most {exponent:g}, or at most {megabytes:g} MB more", holds)


def finding(
    what: str,
    axis: str,
    unit: str,
    sizes: Sequence[int],
    rounds: Sequence[Sequence[float]],
    goal: Goal,
) -> Finding:
    """One line: the exponent, and the costs by size.

    Args:
        axis: what sizes are numbers of, for people.
        rounds: of each size its cost in every round.
    """
    middle = [median(costs) for costs in rounds]
    found = fit(sizes, middle)
    each = ", ".join(f"{cost:.3g}" for cost in middle)
    law = "no exponent: a cost is 0"
    if found is not None:
        law = f"exponent {found.exponent:.2f}, standard error {found.standard_error:.2f}"
    by_round = [fit(sizes, costs) for costs in zip(*rounds, strict=True)]
    exponents = [one.exponent for one in by_round if one is not None]
    if len(exponents) > 1:
        law += f", of single rounds {min(exponents):.2f} to {max(exponents):.2f}"
    detail = {} if found is None else {
        "exponent": found.exponent, "standard_error": found.standard_error, "factor": found.factor,
    }  # fmt: skip
    return Finding(
        what=f"{what}: {'memory' if unit == 'MB' else 'time'}",
        result=f"{law}; {each} {unit} at {', '.join(f'{size:,}' for size in sizes)} {axis}",
        goal=goal.said,
        met=None if goal.holds is None else goal.holds(found, middle),
        peak_mb=peak_mb(),
        detail=detail,
        series={
            "axis": axis, "unit": unit, "sizes": list(sizes), "middle": middle,
            "lowest": [min(costs) for costs in rounds], "highest": [max(costs) for costs in rounds],
        },
    )  # fmt: skip
