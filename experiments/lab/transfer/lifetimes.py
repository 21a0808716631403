"""Lifetimes of a network that learns example by example by a transferred rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor, nn

from experiments.lab.networks.transfer_networks import network
from metaplastic import Delta, LearningRule, PlasticModule, TaskStream
from metaplastic.pathways.carried_back import Backprop
from metaplastic.pathways.sequential import RandomFeedback
from metaplastic.support.seeding import derive, seeded

STEP = 10**0.5  # between two rates, or two rate scales
BEYOND = 3  # steps beyond the rates given, at most, if the best is their last


@dataclass(frozen=True)
class Lifetime:
    """The examples of one lifetime; `seed` determines initial weights and feedback."""

    x: Tensor  # examples *input
    y: Tensor  # examples
    query_x: Tensor  # queries *input
    query_y: Tensor  # queries
    seed: int


MakeLearner = Callable[[nn.Module, Tensor, int, float], PlasticModule]
"""A function of a model, an example of its inputs, a feedback seed and a rate."""


def sample_lifetimes(
    stream: TaskStream, count: int, examples: int, device: str, *parts: int | str
) -> list[Lifetime]:
    """`count` lifetimes, seeded by `parts`."""
    found = []
    for number in range(count):
        episode = stream.sample(1, seeded(*parts, number))
        x, y = episode.support_x[0, :, 0], episode.support_y[0, :, 0]
        own = (x[:examples], y[:examples], episode.query_x[0], episode.query_y[0])
        x, y, query_x, query_y = (part.to(device) for part in own)
        found.append(Lifetime(x, y, query_x, query_y, derive(*parts, number)))
    return found


def adapt_and_evaluate(
    model: nn.Module,
    make_learner: MakeLearner,
    rate: float,
    lifetime: Lifetime,
    evaluation_steps: Sequence[int],
) -> list[float]:
    """The accuracy on queries after each of these numbers of examples.

    An output that is not finite is wrong, as are all after a step that diverges.
    """
    net = make_learner(model, lifetime.x[:1], lifetime.seed, rate)
    found, finite = [], True
    for number in range(len(lifetime.x) + 1):
        if number in evaluation_steps:
            found.append(accuracy(net, lifetime) if finite else 0.0)
        if finite and number < len(lifetime.x):
            net(lifetime.x[number : number + 1])
            try:
                net.learn(lifetime.y[number : number + 1])
            except FloatingPointError:
                finite = False
    return found


def accuracy(net: PlasticModule, lifetime: Lifetime) -> float:
    with torch.no_grad():
        logits = net.eval()(lifetime.query_x)
    net.train()
    correct = (logits.argmax(-1) == lifetime.query_y) & logits.isfinite().all(-1)
    return float(correct.double().mean())


@dataclass(frozen=True)
class Method:
    """A network and a rule that it learns by."""

    network: str
    outputs: int
    make_learner: MakeLearner

    def curve(
        self, rate: float, lifetimes: Sequence[Lifetime], evaluation_steps: Sequence[int]
    ) -> list[float]:
        """The accuracy at each evaluation step, mean over lifetimes."""
        curves = []
        for lifetime in lifetimes:
            model = network(self.network, tuple(lifetime.x.shape[1:]), self.outputs, lifetime.seed)
            curves.append(
                adapt_and_evaluate(
                    model.to(lifetime.x.device), self.make_learner, rate, lifetime, evaluation_steps
                )
            )
        return [fmean(values) for values in zip(*curves, strict=True)]


def choose(
    score: Callable[[float], float], rates: Sequence[float]
) -> tuple[float, dict[float, float]]:
    """The best rate, of equal ones the first, and the score of each rate tried.

    While the best is at an end of the range and better than its neighbor, the next rate beyond it
    is tried as well.
    """
    tried = {rate: score(rate) for rate in sorted(rates)}
    for _ in range(BEYOND):
        order = sorted(tried)
        best = max(order, key=lambda rate: tried[rate])
        if best == order[-1] and (len(order) == 1 or tried[best] > tried[order[-2]]):
            further = best * STEP
        elif best == order[0] and tried[best] > tried[order[1]]:
            further = best / STEP
        else:
            break
        tried[further] = score(further)
    return max(sorted(tried), key=lambda rate: tried[rate]), tried


def by_rule(rule: LearningRule) -> MakeLearner:
    """The rule itself; the rate is its rate scale, 1 as saved."""

    def make_learner(model: nn.Module, example: Tensor, seed: int, rate: float) -> PlasticModule:
        net = PlasticModule(model, rule, example=example, seed=seed)
        net.rate_scale = rate
        return net

    return make_learner


def by_delta(rule: LearningRule | str) -> MakeLearner:
    """The delta rule at a rate, by the signals of a rule or of one by name."""

    def make_learner(model: nn.Module, example: Tensor, seed: int, rate: float) -> PlasticModule:
        plasticity = Delta(rate=rate, per="shared", learn=False)
        return PlasticModule(model, rule, example=example, plasticity=plasticity, seed=seed)

    return make_learner


def fixed(rule: LearningRule) -> dict[str, MakeLearner]:
    """The baselines; feedback alignment has feedback of the same scale as the rule."""
    own = rule.pathway
    feedback = RandomFeedback(scale=own.scale if isinstance(own, RandomFeedback) else 1.0)
    return {
        "feedback alignment": by_delta(LearningRule(feedback, Delta(rate=1.0))),
        "direct feedback alignment": by_delta("dfa"),
        "backprop": by_delta(LearningRule(Backprop(), Delta(rate=1.0))),
    }
