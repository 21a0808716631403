"""What learners cost: the work of one step and of a start, counted while they learn.

The rule learns by `PlasticModule`, SGD and Adam by the optimizers of PyTorch, all by single
examples and not compiled. The start is the making of a learner and what its first step costs
beyond a later one: for a rule that sleeps, its mirror phase.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from experiments.lab.transfer.counter import Work, WorkCounter
from metaplastic import LearningRule, PlasticModule
from metaplastic.alignment import Sleep
from metaplastic.alignment.base import Alignment, AtSite
from metaplastic.support.describe import build, describe, own_classes
from metaplastic.support.noise import normal

Step = Callable[[Tensor, Tensor], Any]
Start = Callable[[nn.Module, Tensor], tuple[Step, "CountedMirror | None"]]
"""A function of a model and an example: what takes a step on an input and a label, and noise."""


class CountedMirror(Alignment):
    """A mirror phase that counts: its steps, and the noise inputs at all sites together."""

    def __init__(self, asleep: Alignment) -> None:
        super().__init__()
        self.asleep, self.sites, self.inputs = asleep, list[str](), 0

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        self.sites.append(site.name)
        return self.asleep.follow(feedback, CountedSite(**vars(site), count=self._count))

    def _count(self, shape: Sequence[int]) -> None:
        self.inputs += shape[0]

    @property
    def steps(self) -> int:
        """Mirror steps, in each of which every site has noise of its own."""
        return self.sites.count(self.sites[0]) if self.sites else 0


@dataclass(frozen=True)
class CountedSite(AtSite):
    """A site whose noise is counted."""

    count: Callable[[Sequence[int]], None] = lambda shape: None

    def noise(self, shape: Sequence[int], name: str) -> Tensor:
        self.count(shape)
        return super().noise(shape, name)


@dataclass(frozen=True)
class Cost:
    """The work of a step and of a start; mirror steps, and noise inputs of all sites together."""

    step: Work
    start: Work
    mirror_steps: int = 0
    noise_inputs: int = 0

    def of(self, examples: int) -> Work:
        """The work of a lifetime of so many examples, start included."""
        return self.start + self.step.times(examples)


@sdpa_kernel(SDPBackend.MATH)  # as in the lifetimes that are compared
def cost(start: Start, model: nn.Module, shape: Sequence[int]) -> Cost:
    """The cost of a learner in a model, for images of a shape.

    Args:
        model: as initialized; it is changed.
    """
    x, y = torch.full((1, *shape), 0.5), torch.zeros(1, dtype=torch.int64)
    normal(torch.tensor(0), (1,), x.dtype)  # makes a table that all learners of a process share
    with WorkCounter() as making:
        step, noise = start(model, x)
    with WorkCounter() as first:
        step(x, y)
    with WorkCounter() as later:
        step(x, y)
    found = Cost(later.work, making.work + first.work - later.work)
    if noise is None:
        return found
    return replace(found, mirror_steps=noise.steps, noise_inputs=noise.inputs)


def by_rule(rule: LearningRule) -> Start:
    """A fresh copy of a rule."""

    def start(model: nn.Module, example: Tensor) -> tuple[Step, CountedMirror | None]:
        fresh: LearningRule = build(describe(rule), own_classes(rule))
        net = PlasticModule(model, fresh, example=example)
        noise, alignment = None, net.credit.rule.alignment  # of the rule that the module made
        if isinstance(alignment, Sleep):
            noise = alignment.asleep = CountedMirror(alignment.asleep)

        def step(x: Tensor, y: Tensor) -> None:
            net(x)
            net.learn(y)

        return step, noise

    return start


def by_optimizer(kind: Callable[..., torch.optim.Optimizer]) -> Start:
    """Exact backprop and an optimizer of PyTorch."""

    def start(model: nn.Module, example: Tensor) -> tuple[Step, None]:
        optimizer = kind(model.parameters(), lr=0.001)

        def step(x: Tensor, y: Tensor) -> None:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        return step, None

    return start
