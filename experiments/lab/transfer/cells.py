"""A rule beside backprop with tuned rates, cell by cell: a network, a set of images, an order.

The rule is used as it is. SGD and Adam by exact backprop get the rate that is best on validation
lifetimes of that very cell; then all live the same test lifetimes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from experiments.lab.networks.transfer_networks import network
from experiments.lab.transfer.batched import Lifetimes, Written, accuracies
from experiments.lab.transfer.lifetimes import choose
from metaplastic import Backprop, Delta, LearningRule, TaskStream
from metaplastic.plasticity import Adaptive
from metaplastic.support.describe import build, describe, own_classes
from metaplastic.support.seeding import derive, seeded

SGD, ADAM, RULE = "backprop, SGD", "backprop, Adam", "the rule"
AT_A_TIME = 10  # lifetimes


@dataclass(frozen=True)
class Cell:
    """One network on one stream; the streams of validation and test, one example a step."""

    network: str
    validation: TaskStream
    test: TaskStream
    examples: int
    seed: int


def sampled(stream: TaskStream, count: int, examples: int, *parts: int | str) -> Lifetimes:
    """`count` lifetimes, seeded by `parts`."""
    episodes = [stream.sample(1, seeded(*parts, number)) for number in range(count)]

    def joined(name: str) -> Any:
        return torch.cat([getattr(episode, name) for episode in episodes])

    return Lifetimes(
        joined("support_x")[:, :examples, 0], joined("support_y")[:, :examples, 0],
        joined("query_x"), joined("query_y"), [derive(*parts, n) for n in range(count)],
        stream.spec.outputs,
    )  # fmt: skip


def measure(
    cell: Cell,
    rule: LearningRule,
    lifetimes: Lifetimes,
    marks: Sequence[int],
    *,
    written: Callable[[], Written] | None = None,
    seen: Any = None,
) -> Any:
    """`lifetimes marks`: accuracies by a fresh copy of the rule.

    Args:
        written, seen: as for `accuracies`; the first is made for each part of the lifetimes.
    """
    shape = tuple(lifetimes.x.shape[2:])

    def make(seed: int) -> torch.nn.Module:
        return network(cell.network, shape, lifetimes.outputs, seed)

    found = []
    for first in range(0, len(lifetimes.seeds), AT_A_TIME):
        part = slice(first, first + AT_A_TIME)
        some = Lifetimes(
            lifetimes.x[part], lifetimes.y[part], lifetimes.query_x[part], lifetimes.query_y[part],
            lifetimes.seeds[part], lifetimes.outputs,
        )  # fmt: skip
        fresh: LearningRule = build(describe(rule), own_classes(rule))
        faults = None if written is None else written()
        found.append(accuracies(fresh, make, some, marks, written=faults, seen=seen))
    return torch.cat(found)


def backprop_sgd(rate: float) -> LearningRule:
    """Plain SGD of all parameters."""
    return LearningRule(Backprop(), Delta(rate=rate, per="shared", learn=False))


def backprop_adam(rate: float) -> LearningRule:
    """Adam with its usual numbers."""
    plasticity = Adaptive(rate=rate, square=0.999, per="shared", learn=False)
    return LearningRule(Backprop(), plasticity)


@dataclass(frozen=True)
class Amount:
    """How many lifetimes: of validation for a rate, of the test for each seed; and the marks."""

    tuning: int
    tests: int
    seeds: int
    marks: Sequence[int]

    @property
    def words(self) -> str:
        """As a sentence above a table."""
        return (
            f"{self.seeds} seeds of {self.tests} test lifetimes of {self.marks[-1]} examples; "
            f"rates by {self.tuning} validation lifetimes of as many."
        )


def baselines(cell: Cell, amount: Amount, sweeps: dict[str, tuple[float, ...]]) -> dict[str, Any]:
    """SGD and Adam: accuracies, `seeds lifetimes marks`, and the rates, chosen and tried."""
    parts = (cell.examples, cell.seed, "cells", "validation")
    choosing = sampled(cell.validation, amount.tuning, *parts)
    makers: dict[str, Callable[[float], LearningRule]] = {SGD: backprop_sgd, ADAM: backprop_adam}
    found: dict[str, Any] = {}
    for label, make in makers.items():
        rate, tried = choose(
            lambda r: float(measure(cell, make(r), choosing, amount.marks[-1:]).mean()),  # noqa: B023
            sweeps[label],
        )
        found[label] = {"rate": rate, "validation": {f"{r:.3g}": a for r, a in tried.items()}}
        found[label] |= tested(cell, make(rate), amount)
    return found


def tested(cell: Cell, rule: LearningRule, amount: Amount) -> dict[str, Any]:
    """The accuracies of a rule, used as it is: `seeds lifetimes marks`."""
    found = []
    for seed in range(cell.seed, cell.seed + amount.seeds):
        lives = sampled(cell.test, amount.tests, cell.examples, seed, "cells", "test")
        found.append(measure(cell, rule, lives, amount.marks).tolist())
    return {"accuracy": found}
