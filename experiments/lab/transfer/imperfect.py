"""Imperfect synapses: noise in what is written, a few bits for a weight; and sleep against it.

Weights of sites and their feedback have the same faults, each its own. A write of size d is
`d (1 + noise n)`, n normal; with bits, a synapse holds one of `2^bits` values between minus and
plus twice its site's largest first weight, and what lies between two is rounded at random, up with
the probability that keeps the mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from experiments.lab.figures.tables import as_markdown, over_seeds
from experiments.lab.transfer.cells import Cell, measure, sampled
from metaplastic import LearningRule
from metaplastic.alignment import Sleep
from metaplastic.inner.network import PlasticNetwork
from metaplastic.inner.state import State
from metaplastic.pathways.sampled import FEEDBACK
from metaplastic.support.describe import build, describe, own_classes


@dataclass
class Faults:
    """What becomes of the weights and the feedback of a step."""

    noise: float
    bits: int | None
    seed: int
    grids: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)

    def __call__(
        self, network: PlasticNetwork, before: dict[str, Tensor], after: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """The state as it is written, of every lifetime."""
        found = dict(after)
        for site in network.plastic:
            weight = network.parameter(site)
            for name in (weight, FEEDBACK + site):
                if name in after:
                    found[name] = self._written(name, weight, before, after)
        return found

    def _written(
        self, name: str, weight: str, before: dict[str, Tensor], after: dict[str, Tensor]
    ) -> Tensor:
        change = after[name] - before[name]
        noise = torch.randn(change.shape, generator=self.generator, dtype=change.dtype)
        value = before[name] + change * (1 + self.noise * noise)
        if self.bits is None:
            return value
        if weight not in self.grids:
            largest = before[weight].flatten(1).abs().amax(1)
            step = 4 * largest / 2**self.bits
            self.grids[weight] = step.view(-1, *[1] * (value.dim() - 1))
        grid = self.grids[weight]
        chance = torch.rand(change.shape, generator=self.generator, dtype=change.dtype)
        top = 2 ** (self.bits - 1)
        return (value / grid + chance).floor().clamp(-top, top - 1) * grid


def slept(rule: LearningRule, every: int | None) -> LearningRule:
    """A copy of a rule that sleeps as at its start, every so many steps.

    Raises:
        ValueError: for a rule that does not sleep.
    """
    if not isinstance(rule.alignment, Sleep):
        raise ValueError(
            f"The alignment of this rule is {type(rule.alignment).__name__}, which does not sleep; "
            "imperfect synapses are repaired by a rule whose alignment is Sleep."
        )
    copy: LearningRule = build(describe(rule), own_classes(rule))
    given = {k: v for k, v in rule.alignment.options.items() if k not in ("every", "steps")}
    parts = {name: build(describe(given[name]), own_classes(rule)) for name in ("awake", "asleep")}
    copy.alignment = Sleep(**{**given, **parts}, every=every)
    return copy


def angles_of(state: State, network: PlasticNetwork) -> Tensor:
    """Degrees between feedback and weights, mean over sites that send errors on: `lifetimes`."""
    found = []
    for site in network.plastic[1:]:
        weight, feedback = network.weight(site, state.weights), state.feedback[site]
        cosine = torch.cosine_similarity(weight.flatten(1).double(), feedback.flatten(1).double())
        found.append(cosine.clamp(-1, 1).acos() * 180 / math.pi)
    return torch.stack(found).mean(0)


def table(
    cell: Cell,
    rule: LearningRule,
    *,
    tests: int,
    seeds: int,
    every: int,
    noises: Sequence[float],
    bits: Sequence[int | None],
) -> tuple[str, list[dict[str, Any]]]:
    """Accuracy and angle at the end, for every fault, without and with sleep; and the numbers."""
    rows, numbers = [], []
    for noise, width, nights in product(noises, bits, (None, every)):
        accuracy, angle = [], []
        for seed in range(cell.seed, cell.seed + seeds):
            lives = sampled(cell.test, tests, cell.examples, seed, "cells", "test")
            last: list[Tensor] = []
            found = measure(
                cell, slept(rule, nights), lives, [cell.examples],
                written=partial(Faults, noise, width, seed), seen=partial(_keep, last),
            )  # fmt: skip
            accuracy.append(float(found.mean()))
            angle.append(float(torch.cat(last).mean()))
        numbers.append({
            "noise": noise, "bits": width, "every": nights, "accuracy": accuracy, "angle": angle,
        })  # fmt: skip
        rows.append({
            "noise of a write": f"{100 * noise:g} %", "bits": str(width or "float32"),
            "sleep": f"every {nights}" if nights else "at the start",
            "accuracy %": over_seeds([100 * a for a in accuracy], "{:.1f}"),
            "angle of W and B": over_seeds(angle, "{:.1f}"),
        })  # fmt: skip
    return as_markdown(rows, order=()), numbers


def _keep(angles: list[Tensor], state: State, network: PlasticNetwork) -> None:
    angles.append(angles_of(state, network))
