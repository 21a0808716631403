"""The space that is searched: a whole rule as a vector of a few numbers, shared by all sites.

The pathway carries errors back through feedback weights; these are mirrored by noise before the
first example and every so many examples (alignment, asleep), get a share of every change of their
weight and may decay towards it (awake); the plasticity rule is `Adaptive`, whose time constants,
rates and bounds are searched.
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

    Both are in the coordinate that `value`, which is differentiable where it can be, maps to the
    option.
    """

    start: float
    spread: float
    value: Callable[[Tensor], Tensor]
    neutral: float | None = None  # without the term; None where it cannot be left out


def _power_of_ten(x: Tensor) -> Tensor:
    return 10.0**x


def _whole_power_of_ten(x: Tensor) -> Tensor:
    return (10.0**x).round().clamp(min=1)


def _share(x: Tensor) -> Tensor:
    return x.sigmoid()


def _above_zero(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def _itself(x: Tensor) -> Tensor:
    return x


SPACE: dict[str, Dimension] = {
    "rate": Dimension(-3.0, 0.15, _power_of_ten),
    "mean": Dimension(2.2, 0.4, _share, 0.0),
    "square": Dimension(4.6, 0.5, _share),
    "small": Dimension(-6.0, 0.5, _power_of_ten, 1e-8),
    "decay": Dimension(2.5, 0.25, _power_of_ten, math.inf),
    "power": Dimension(0.5, 0.15, _above_zero),
    "nesterov": Dimension(-2.2, 0.5, _share, 0.0),
    "clip": Dimension(0.5, 0.2, _power_of_ten, math.inf),
    "fan_in": Dimension(0.5, 0.15, _itself, 0.0),
    "weight_decay": Dimension(0.0, 0.4, _power_of_ten, 0.0),
    "hidden": Dimension(0.0, 0.15, _power_of_ten, 1.0),
    "gain": Dimension(1.0, 0.1, _itself, 1.0),
    "feedback_decay": Dimension(-4.0, 0.5, _power_of_ten, 0.0),
    "sleep": Dimension(2.3, 0.25, _whole_power_of_ten, math.inf),
}


def first_point() -> Tensor:
    """Where the search starts, float64."""
    return torch.tensor([dimension.start for dimension in SPACE.values()], dtype=torch.float64)


def spreads() -> Tensor:
    """The standard deviation of a mutation, number by number."""
    return torch.tensor([dimension.spread for dimension in SPACE.values()], dtype=torch.float64)


def options_at(point: Tensor) -> dict[str, float]:
    """The numbers of the rule at a point."""
    return {name: float(value) for name, value in numbers_at(point).items()}


def numbers_at(point: Tensor) -> dict[str, Tensor]:
    """The numbers at points, `... numbers` -> each `...`, differentiable."""
    return {name: d.value(x) for (name, d), x in zip(SPACE.items(), point.unbind(-1), strict=True)}


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
    aligned = ("hidden", "gain", "feedback_decay", "sleep")
    given = {n: value for n, value in plain(options).items() if n not in aligned}
    plasticity = Adaptive(per="shared", learn=False, **given)
    hidden = options["hidden"]
    if pathway is not None:
        return LearningRule(pathway, plasticity, hidden_multiplier=hidden)
    asleep = MirrorAlignment(rate=1.0, decay=1.0, rows=rows)
    awake = KolenPollackAlignment(decay=min(options["feedback_decay"], 1.0), gain=options["gain"])
    every = plain(options)["sleep"]
    every = None if every is None else int(every)
    alignment = Sleep(awake=awake, asleep=asleep, at_start=1, every=every)
    return LearningRule(RandomFeedback(), plasticity, alignment, hidden_multiplier=hidden)
