"""Estimators of the meta-gradient at the same cost: their errors, and what they train a rule to."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from time import process_time
from typing import Any

import torch
from torch import Tensor, nn

from experiments.lab.evolution.data import Kind, Source
from experiments.lab.evolution.estimators import (
    Antithetic,
    Estimator,
    Persistent,
    Problem,
    Unrolled,
)
from experiments.lab.evolution.space import SPACE
from metaplastic.support.seeding import global_seed

WAYS, UNITS, PIXELS = 5, 24, 196
AT_A_TIME = 32  # lifetimes of the reference and of tests


@dataclass(frozen=True)
class Cost:
    """What an estimate costs and how often it is made.

    Attributes:
        pairs, lifetimes: of an estimate by evolution, which runs `2 pairs lifetimes` lifetimes.
        charge: what a differentiated lifetime counts as, in lifetimes that are not.
        estimates: of each estimator at the first point.
        budget: estimates of which a meta-training is made.
    """

    pairs: int = 4
    lifetimes: int = 4
    charge: float = 8.0
    deviation: float = 1.0
    estimates: int = 6
    reference: int = 32
    budget: int = 10

    @property
    def differentiated(self) -> int:
        """Lifetimes of an estimate by unrolling, at the same cost."""
        return max(1, round(2 * self.pairs * self.lifetimes / self.charge))

    def estimators(self) -> dict[str, Estimator]:
        """By name."""
        sizes = self.pairs, self.lifetimes, self.deviation
        return {
            "antithetic ES, whole lifetimes": Antithetic(*sizes),
            "PES, truncated lifetimes": Persistent(*sizes),
            "meta-gradient, whole lifetimes": Unrolled(self.differentiated, truncated=False),
            "meta-gradient, truncated lifetimes": Unrolled(self.differentiated, truncated=True),
        }


def small_network(seed: int) -> nn.Module:
    """Two hidden layers, with the weights of a seed."""
    with global_seed(torch.device("cpu"), seed):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(PIXELS, UNITS), nn.ReLU(), nn.Linear(UNITS, UNITS), nn.ReLU(),
            nn.Linear(UNITS, WAYS),
        )  # fmt: skip


def problem_of(given: list[Source], examples: int, segments: int, seed: int) -> Problem:
    """Five classes of one source (of another with the next seed) in a small dense network."""
    kind = Kind(seed % len(given), WAYS, examples)
    return Problem(given, kind, small_network, segments)


def reference_of(problem: Problem, count: int, name: str) -> tuple[Tensor, float]:
    """The meta-gradient of so many whole lifetimes, and the cosine of its two halves."""
    here, halves = torch.zeros(len(SPACE), dtype=torch.float64), []
    for half in range(2):
        parts, left = [], max(1, count // 2)
        while left:
            now = min(left, AT_A_TIME)
            draw = random.Random(f"{name} reference {half} {left}")
            parts += [now * total(Unrolled(now, truncated=False), problem, here, draw)]
            left -= now
        halves.append(torch.stack(parts).sum(0) / max(1, count // 2))
    return (halves[0] + halves[1]) / 2, cosine(*halves)


def total(estimator: Estimator, problem: Problem, point: Tensor, draw: random.Random) -> Tensor:
    """An estimate at a point."""
    return torch.stack(list(estimator(problem, lambda: point, draw))).sum(0)


def cosine(one: Tensor, other: Tensor) -> float:
    """Of the angle between two vectors."""
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0))


def errors(
    estimator: Estimator, problem: Problem, reference: Tensor, cost: Cost, name: str
) -> dict[str, float]:
    """How an estimator's estimates at the first point differ from a reference."""
    here, began = torch.zeros_like(reference), process_time()
    found = torch.stack([
        total(estimator, problem, here, random.Random(f"{name} estimate {number}"))
        for number in range(cost.estimates)
    ])  # fmt: skip
    seconds, mean = (process_time() - began) / cost.estimates, found.mean(0)
    return {
        "cosine": sum(cosine(one, reference) for one in found) / len(found),
        "cosine of the mean": cosine(mean, reference),
        "size": float(mean.norm() / reference.norm()),
        "variance": float(found.var(0).sum() / reference.square().sum()),
        "seconds": seconds,
    }


def trained(
    estimator: Estimator, problem: Problem, cost: Cost, rate: float, name: str
) -> tuple[Tensor, int]:
    """The point after a budget of estimates by Adam, and parts that were not finite, left out."""
    point = torch.zeros(len(SPACE), dtype=torch.float64, requires_grad=True)
    optimizer, skipped = torch.optim.Adam([point], lr=rate), 0
    for number in range(cost.budget):
        draw = random.Random(f"{name} training {number}")
        for part in estimator(problem, lambda: point.detach(), draw):
            point.grad = part
            if bool(part.isfinite().all()):
                optimizer.step()
            else:
                skipped += 1
    return point.detach(), skipped


def tested(problem: Problem, points: Mapping[Any, Tensor], name: str) -> dict[Any, float]:
    """The meta-loss of these points on lifetimes that are new, the same for all."""
    lifetimes = problem.lifetimes(AT_A_TIME, random.Random(f"{name} test"))
    rules = torch.stack(list(points.values()))
    population = problem.population(lifetimes, len(rules))
    state, sums = population.first, torch.zeros(len(rules), dtype=torch.float64)
    for segment in range(problem.segments):
        state, loss = problem.losses(population, state, rules, segment)
        sums += loss
    return dict(zip(points, sums.tolist(), strict=True))


def compared(
    given: list[Source], examples: int, segments: int, seed: int, cost: Cost, rates: list[float]
) -> dict[str, Any]:
    """Errors and trained meta-losses of all estimators, for one length and one seed."""
    name, problem = f"{seed} {examples}", problem_of(given, examples, segments, seed)
    reference, halves = reference_of(problem, cost.reference, name)
    rows, points = {}, {"start": torch.zeros_like(reference)}
    for label, estimator in cost.estimators().items():
        rows[label] = errors(estimator, problem, reference, cost, name)
        for rate in rates:
            point, skipped = trained(estimator, problem, cost, rate, name)
            points[f"{label}, {rate:g}"] = point
            rows[label][f"skipped, {rate:g}"] = skipped
    losses = tested(problem, points, name)
    for label in rows:
        for rate in rates:
            rows[label][f"loss, {rate:g}"] = losses[f"{label}, {rate:g}"]
    return {"halves": halves, "start": losses["start"], "rows": rows}
