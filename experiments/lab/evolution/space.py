"""The space that is searched: a whole rule as a vector of a dozen numbers, shared by all sites.

The pathway carries errors back through feedback weights; these are mirrored by noise before the
first example (alignment, asleep) and get a share of every change of their weight (awake); the
plasticity rule is `Adaptive`, whose time constants, rates and bounds are searched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metaplastic import LearningRule, RandomFeedback
from metaplastic.alignment import KolenPollackAlignment, MirrorAlignment, Sleep
from metaplastic.plasticity import Adaptive

ROWS = 2048  # of noise before the first example, at every site


@dataclass(frozen=True)
class Dimension:
    """One number of the rule: where the search starts, and how far it looks at once.

    Both are in the coordinate that `value` maps to the option.
    """

    start: float
    spread: float
    value: Callable[[float], float]
    neutral: float | None = None  # without the term; None where it cannot be left out


def _power_of_ten(x: float) -> float:
    return float(10.0**x)


def _share(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _above_zero(x: float) -> float:
    return max(x, 0.0)


SPACE: dict[str, Dimension] = {
    "rate": Dimension(-3.0, 0.15, _power_of_ten),
    "mean": Dimension(2.2, 0.4, _share, 0.0),
    "square": Dimension(4.6, 0.5, _share),
    "small": Dimension(-6.0, 0.5, _power_of_ten, 1e-8),
    "decay": Dimension(2.5, 0.25, _power_of_ten, math.inf),
    "power": Dimension(0.5, 0.15, _above_zero),
    "nesterov": Dimension(-2.2, 0.5, _share, 0.0),
    "clip": Dimension(0.5, 0.2, _power_of_ten, math.inf),
    "fan_in": Dimension(0.5, 0.15, float, 0.0),
    "weight_decay": Dimension(0.0, 0.4, _power_of_ten, 0.0),
    "hidden": Dimension(0.0, 0.15, _power_of_ten, 1.0),
    "gain": Dimension(1.0, 0.1, float, 1.0),
}


def first_point() -> Tensor:
    """Where the search starts, float64."""
    return torch.tensor([dimension.start for dimension in SPACE.values()], dtype=torch.float64)


def spreads() -> Tensor:
    """The standard deviation of a mutation, number by number."""
    return torch.tensor([dimension.spread for dimension in SPACE.values()], dtype=torch.float64)


def options_at(point: Tensor) -> dict[str, float]:
    """The numbers of the rule at a point."""
    pairs = zip(SPACE.items(), point.tolist(), strict=True)
    return {name: dimension.value(x) for (name, dimension), x in pairs}


def neutralized(options: Mapping[str, float], term: str) -> dict[str, float]:
    """The same rule without a term.

    Raises:
        ValueError: for a number that every rule has.
    """
    neutral = SPACE[term].neutral
    if neutral is None:
        raise ValueError(f"{term} cannot be left out of a rule; {', '.join(terms())} can.")
    return {**options, term: neutral}


def terms() -> list[str]:
    """The numbers that can be taken out of a rule."""
    return [name for name, dimension in SPACE.items() if dimension.neutral is not None]


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers as options of the rule: None in the place of infinity."""
    return {name: None if value == math.inf else value for name, value in options.items()}


def rule_of(options: Mapping[str, Any], *, pathway: Any = None, rows: int = ROWS) -> LearningRule:
    """The rule of these numbers, fresh; by another pathway, such as `Backprop()`, without sleep."""
    given = {n: value for n, value in plain(options).items() if n not in ("hidden", "gain")}
    plasticity = Adaptive(per="shared", learn=False, **given)
    hidden = options["hidden"]
    if pathway is not None:
        return LearningRule(pathway, plasticity, hidden_multiplier=hidden)
    asleep = MirrorAlignment(rate=1.0, decay=1.0, rows=rows)
    awake = KolenPollackAlignment(decay=0.0, gain=options["gain"])
    alignment = Sleep(awake=awake, asleep=asleep, at_start=1)
    return LearningRule(RandomFeedback(), plasticity, alignment, hidden_multiplier=hidden)
