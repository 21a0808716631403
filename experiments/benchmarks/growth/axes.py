"""What grows: lifetimes of a network with a plastic hidden layer, and of a readout of classes.

The network is 64-128-8, all plastic by feedback and Oja's rule; 8 tasks of 20 steps of 4 examples.
An axis changes one of these numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from experiments.benchmarks.growth.fit import NONE, Goal, at_most, flat, near_zero
from experiments.benchmarks.many_classes import FEATURES, readout
from experiments.benchmarks.measure import Work
from metaplastic import CrossEntropy, Direct, LearningRule, Oja, OnlineLearner

TASKS, STEPS, BATCH, QUERIES = 8, 20, 4, 16
INPUTS, WIDTH, OUTPUTS = 64, 128, 8
EXAMPLES = 9_000  # of the readout, in one call
LINEAR, FLAT, FLAT_MB, INDEPENDENT = 1.1, 0.05, 2.0, 0.1


@dataclass(frozen=True)
class Axis:
    """One number that grows.

    Args:
        what: the cost of what, for people.
        label: what the sizes are numbers of.
        make: the work at one size.
        tiny: work that loads all that `make`'s needs, in next to no memory.
        time: the goal for the time, which is `divided_by` a number of steps where it is a step's.
    """

    what: str
    label: str
    sizes: tuple[int, ...]
    make: Callable[[int], Work]
    tiny: Callable[[], Work]
    time: Goal = NONE
    memory: Goal = NONE
    divided_by: int = 1
    unit: str = "ms"


def learner(width: int = WIDTH) -> OnlineLearner:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(INPUTS, width), nn.Tanh(), nn.Linear(width, OUTPUTS))
    return OnlineLearner(network, LearningRule(Direct(), Oja(rate=0.01)), CrossEntropy(OUTPUTS))


def with_meta_gradient(tasks: int = TASKS, steps: int = STEPS, width: int = WIDTH) -> Work:
    """Lifetimes, and the meta-gradient of their query loss."""
    ours = learner(width)
    parameters = [p for p in ours.parameters() if p.requires_grad]
    x, y = torch.randn(tasks, steps, BATCH, INPUTS), labels(tasks, steps, BATCH)
    query, target, seed = torch.randn(tasks, QUERIES, INPUTS), labels(tasks, QUERIES), seeds(tasks)

    def work() -> list[Tensor | None]:
        fast = ours.adapt(x, y, ours.initialize(y, seed))
        loss = ours.objective.loss(ours.predict(fast, query), target).mean()
        return list(torch.autograd.grad(loss, parameters, allow_unused=True))

    return work


def without_gradient(steps: int, tasks: int = TASKS, width: int = WIDTH) -> Work:
    """Lifetimes that come in pieces, as a stream would: only the weights are kept between them."""
    ours = learner(width).eval()
    piece = min(steps, STEPS)
    x, y = torch.randn(tasks, piece, BATCH, INPUTS), labels(tasks, piece, BATCH)
    initial = ours.initialize(y, seeds(tasks))

    @torch.no_grad()
    def work() -> None:
        fast = initial
        for _ in range(steps // piece):
            fast = ours.adapt(x, y, fast)

    return work


def of_classes(classes: int, examples: int = EXAMPLES) -> Work:
    """A readout taught by one-hot labels, one example a step, in one call without a gradient."""
    ours = readout(classes)
    x = torch.rand(1, examples, 1, FEATURES)
    y = (torch.arange(examples) % classes).view(1, examples, 1)
    initial = ours.initialize(y, seeds(1))
    return torch.no_grad()(lambda: ours.adapt(x, y, initial))


def labels(*shape: int) -> Tensor:
    return torch.randint(OUTPUTS, shape)


def seeds(tasks: int) -> Tensor:
    return torch.arange(tasks)


TINY = partial(with_meta_gradient, 1, 2, 8)
AXES: dict[str, Axis] = {
    "steps": Axis(
        "a lifetime with its meta-gradient", "steps", (20, 40, 80, 160, 320),
        lambda size: with_meta_gradient(steps=size), TINY, time=at_most(LINEAR),
    ),
    "steps_without": Axis(
        "a lifetime without a gradient", "steps", (100, 200, 400, 800, 1600),
        without_gradient, partial(without_gradient, 2, 1, 8), time=at_most(LINEAR),
        memory=flat(FLAT, FLAT_MB),
    ),
    "tasks": Axis(
        "a meta-batch with its meta-gradient", "tasks", (8, 16, 32, 64, 128),
        lambda size: with_meta_gradient(tasks=size), TINY, time=at_most(LINEAR),
    ),
    "width": Axis(
        "a plastic hidden layer, with the meta-gradient", "units", (64, 128, 256, 512, 1024),
        lambda size: with_meta_gradient(width=size), TINY,
    ),
    "classes": Axis(
        f"a step of a readout of {FEATURES} features taught by labels", "classes",
        (10, 40, 160, 640, 2560), of_classes, partial(of_classes, 2, 4),
        time=near_zero(INDEPENDENT), divided_by=EXAMPLES, unit="us",
    ),
}  # fmt: skip
