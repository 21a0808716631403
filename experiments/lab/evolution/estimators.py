"""Estimators of the meta-gradient: antithetic and persistent evolution strategies, and unrolling.

The meta-loss of a rule is the mean, over the ends of equal segments of a lifetime, of the
cross-entropy on queries. An estimator yields parts of the gradient whose sum over a lifetime is its
estimate: one part, or one for each segment, where the rule may be changed between them. All are
with respect to a point in units of `space.spreads`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.lab.evolution.adaptation import LifeState
from experiments.lab.evolution.data import Kind, Source, lifetimes_of
from experiments.lab.evolution.population import Population
from experiments.lab.evolution.space import SPACE, first_point, numbers_at, spreads
from experiments.lab.transfer.batched import Lifetimes, MakeNetwork

LARGEST = 100.0  # nats; a lifetime that diverged has this loss
PIECE = 10  # steps whose graph is in memory at a time

Where = Callable[[], Tensor]
Estimator = Callable[["Problem", Where, random.Random], Iterator[Tensor]]


@dataclass(frozen=True)
class Problem:
    """A meta-loss: lifetimes of one kind of data in one architecture, in equal segments.

    Attributes:
        rows: of noise, by which feedback is mirrored; None for exact backprop.
    """

    given: list[Source]
    kind: Kind
    make: MakeNetwork
    segments: int
    rows: int | None = 2048

    @property
    def segment(self) -> int:
        """Steps of a segment."""
        return self.kind.steps // self.segments

    def lifetimes(self, count: int, draw: random.Random) -> Lifetimes:
        """New ones."""
        return lifetimes_of(self.given, self.kind, count, draw)

    def population(self, lifetimes: Lifetimes, rules: int) -> Population:
        """Rules at the start of these lifetimes."""
        return Population(self.make, lifetimes, rules, rows_of_noise=self.rows)

    def losses(
        self, population: Population, state: LifeState, points: Tensor, segment: int
    ) -> tuple[LifeState, Tensor]:
        """The state after a segment of rules at these points, and each one's part of the loss."""
        with torch.no_grad():
            adapt = population.adaptation(numbers_at(first_point() + spreads() * points))
        for number in range(segment * self.segment, (segment + 1) * self.segment):
            state = population.step(state, adapt, number)
        with torch.no_grad():
            loss = population.query_loss(state).nan_to_num(LARGEST, LARGEST).clamp(max=LARGEST)
        return state, loss.mean(1).double() / self.segments


def mutations(pairs: int, draw: random.Random) -> Tensor:
    """Normal numbers, `pairs numbers`."""
    g = torch.Generator().manual_seed(draw.getrandbits(60))
    return torch.randn(pairs, len(SPACE), generator=g, dtype=torch.float64)


@dataclass(frozen=True)
class Antithetic:
    """Evolution strategies on whole lifetimes: pairs of opposite mutations, on the same lifetimes.

    Salimans et al. (2017, arXiv:1703.03864). Unbiased for the meta-loss smoothed by the mutations.

    Attributes:
        deviation: of a mutation, in spreads.
    """

    pairs: int
    lifetimes: int
    deviation: float

    def __call__(self, problem: Problem, where: Where, draw: random.Random) -> Iterator[Tensor]:
        population = problem.population(problem.lifetimes(self.lifetimes, draw), 2 * self.pairs)
        steps = self.deviation * mutations(self.pairs, draw)
        points, state = where() + torch.cat([steps, -steps]), population.first
        total = torch.zeros(2 * self.pairs, dtype=torch.float64)
        for segment in range(problem.segments):
            state, loss = problem.losses(population, state, points, segment)
            total += loss
        yield along(total, steps, self.deviation)


@dataclass(frozen=True)
class Persistent:
    """Persistent evolution strategies: new mutations in every segment, credited with their sum.

    Vicol, Metz & Sohl-Dickstein (2021, arXiv:2112.13835), with antithetic pairs; all begin a
    lifetime together. The rule may be changed after every segment, and no segment is left without
    credit for what it does to later ones. Attributes as of `Antithetic`.
    """

    pairs: int
    lifetimes: int
    deviation: float

    def __call__(self, problem: Problem, where: Where, draw: random.Random) -> Iterator[Tensor]:
        population = problem.population(problem.lifetimes(self.lifetimes, draw), 2 * self.pairs)
        state, so_far = population.first, torch.zeros(self.pairs, len(SPACE), dtype=torch.float64)
        for segment in range(problem.segments):
            steps = self.deviation * mutations(self.pairs, draw)
            so_far = so_far + steps
            points = where() + torch.cat([steps, -steps])
            state, loss = problem.losses(population, state, points, segment)
            yield along(loss, so_far, self.deviation)


def along(losses: Tensor, steps: Tensor, deviation: float) -> Tensor:
    """The mean of directions, each times what its pair of losses differs by."""
    plus, minus = losses.view(2, -1)
    found: Tensor = ((plus - minus)[:, None] * steps).mean(0) / (2 * deviation**2)
    return found


@dataclass(frozen=True)
class Unrolled:
    """The meta-gradient through lifetimes, whole or, truncated, within each segment.

    Exact in whole lifetimes; memory is that of a few steps, for one more forward pass. Truncated,
    what a segment does to later ones has no credit, as by `Unroll(truncate=...)`.
    """

    lifetimes: int
    truncated: bool

    def __call__(self, problem: Problem, where: Where, draw: random.Random) -> Iterator[Tensor]:
        population = problem.population(problem.lifetimes(self.lifetimes, draw), 1)
        length = problem.segment
        state = population.first
        if self.truncated:
            for first in range(0, problem.kind.steps, length):
                ends = boundaries(first, first + length, length)
                states = visited(population, state, where(), ends)
                yield through(population, states[:-1], where(), ends, length, problem.segments)
                state = states[-1]
            return
        ends = boundaries(0, problem.kind.steps, length)
        states = visited(population, state, where(), ends)
        yield through(population, states[:-1], where(), ends, length, problem.segments)


def boundaries(first: int, last: int, segment: int) -> list[int]:
    """Numbers of steps from `first` to `last`: ends of segments, and of pieces within them."""
    starts = range(first, last, segment)
    return [n for start in starts for n in range(start, start + segment, PIECE)] + [last]


def visited(
    population: Population, state: LifeState, point: Tensor, ends: list[int]
) -> list[LifeState]:
    """The states at these numbers of steps, the first of which is `state`."""
    with torch.no_grad():
        adapt = population.adaptation(numbers_at(first_point() + spreads() * point[None]))
    found = [state]
    for number in range(ends[0], ends[-1]):
        state = population.step(state, adapt, number)
        if number + 1 in ends:
            found.append(state)
    return found


def through(
    population: Population,
    states: list[LifeState],
    point: Tensor,
    ends: list[int],
    segment: int,
    segments: int,
) -> Tensor:
    """The gradient of the losses from the first of `ends` to the last, piece by piece, backwards.

    Args:
        states: at the start of each piece.
    """
    total = torch.zeros_like(point)
    received: list[Tensor] | None = None
    for first, last, state in reversed(list(zip(ends, ends[1:], states, strict=False))):
        here = point.clone().requires_grad_()
        adapt = population.adaptation(numbers_at(first_point() + spreads() * here[None]))
        start = state.detached()
        for part in start.tensors():
            part.requires_grad_()
        after = start
        for number in range(first, last):
            after = population.step(after, adapt, number, differentiable=True)
        outputs, weights = [], []
        if last % segment == 0:
            outputs.append(population.query_loss(after).mean() / segments)
            weights.append(torch.ones_like(outputs[0]))
        if received is not None:
            outputs += after.tensors()
            weights += received
        inputs = [here, *start.tensors()]
        gradient, *received = torch.autograd.grad(
            outputs, inputs, weights, allow_unused=True, materialize_grads=True
        )
        total += gradient
    return total
