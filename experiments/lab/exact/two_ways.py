"""A lifetime run twice: by the meta-learner's executor, and in place by `PlasticModule`."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from experiments.lab.exact.networks import CLASSES, Tiny
from experiments.lab.exact.points import Make
from metaplastic import CrossEntropy, OnlineLearner, PlasticModule
from metaplastic.inner.state import State

STEPS, BATCH, SEED = 10, 2, 7


@dataclass(frozen=True)
class Apart:
    """How far two lifetimes ended from each other, each tensor relative to its largest entry."""

    weights: float
    feedback: float
    traces: float
    moved: float  # how far weights went from the first ones, to see that there was a lifetime

    @property
    def most(self) -> float:
        """The largest of all."""
        return max(self.weights, self.feedback, self.traces)


def examples(tiny: Tiny, dtype: torch.dtype, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Inputs `steps batch *shape` and labels `steps batch`."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(STEPS, BATCH, *tiny.shape, generator=draw, dtype=torch.float64)
    return x.to(dtype), torch.randint(CLASSES, (STEPS, BATCH), generator=draw)


def shaken(learner: nn.Module, seed: int = 3) -> None:
    """Move what was learned of a rule off the special values that it starts from."""
    draw = torch.Generator().manual_seed(seed)
    for parameter in learner.parameters():
        if parameter.requires_grad:
            noise = torch.rand(parameter.shape, generator=draw, dtype=torch.float64)
            parameter.data *= (0.75 + 0.5 * noise).to(parameter.dtype)


def two_ways(
    tiny: Tiny, make: Make, dtype: torch.dtype, seed: int = 1, *, compiled: bool = False
) -> Apart:
    """The same examples, seed, first weights and rule, both ways.

    Raises:
        RuntimeError: if the second way was to be compiled and could not be.
    """
    x, y = examples(tiny, dtype, seed)
    network = tiny.make(dtype)
    learner = OnlineLearner(network, make(), CrossEntropy(CLASSES), input_shape=tiny.shape)
    learner.to(dtype)
    shaken(learner.rule)
    with torch.no_grad():
        first = learner.initialize(y[None], torch.tensor([SEED]))
        adapted = learner.adapt(x[None], y[None], first)
    state = State.of_flat({name: value[0] for name, value in adapted.items()})
    net = in_place(copy.deepcopy(network), learner, x[0], state.weights, compiled)
    for given, target in zip(x, y, strict=True):
        net(given)
        net.learn(target)
    if compiled and not net.is_compiled:
        raise RuntimeError("This rule's steps could not be compiled in this network.")
    return apart(state, net, dict(network.named_parameters()))


def in_place(
    model: nn.Module,
    learner: OnlineLearner,
    example: Tensor,
    learns: Mapping[str, Tensor],
    compiled: bool,
) -> PlasticModule:
    """The learner's rule in a model, of which no more learns than in the learner."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in learns)
    return PlasticModule(model, learner.rule, example=example, seed=SEED, compile=compiled)


def apart(state: State, net: PlasticModule, before: Mapping[str, Tensor]) -> Apart:
    """How far a state is from what a module has become."""
    model = dict(net.model.named_parameters())
    credit = net.credit
    assert credit.held is not None or not state.feedback
    traces = net.memory.traces(credit)
    own = {name: value for name, value in state.traces.items() if not name.startswith("norm of")}
    assert own.keys() == traces.keys()
    return Apart(
        worst((value, model[name]) for name, value in state.weights.items()),
        worst((value, credit.feedback(site)) for site, value in state.feedback.items()),
        worst((value, traces[name]) for name, value in own.items()),
        worst((value, before[name]) for name, value in state.weights.items()),
    )


def worst(pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """The largest difference of two tensors, each relative to the first's largest entry."""
    found = [0.0]
    for one, other in pairs:
        size = float(one.detach().abs().max()) or 1.0
        found.append(float((one - other).detach().abs().max()) / size)
    return max(found)
