"""One rule, one step: a meta-learner's lifetime and a module's in place are the same."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from experiments.lab.exact.networks import CLASSES, NETWORKS, Tiny
from experiments.lab.exact.points import OTHERS, POINTS, point
from experiments.lab.exact.two_ways import BATCH, SEED, STEPS, apart, examples, two_ways
from metaplastic import (
    CrossEntropy,
    Delta,
    Direct,
    Hebb,
    LearningRule,
    Oja,
    OnlineLearner,
    PlasticModule,
    rules,
)
from metaplastic.inner.network import PlasticNetwork
from metaplastic.inner.state import State, initial_state
from metaplastic.inner.step import step
from metaplastic.inner.teacher import ObjectiveTeacher
from metaplastic.pathways.carried_back import Backprop
from metaplastic.pathways.sequential import RandomFeedback
from metaplastic.plasticity.adaptive import Adaptive


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rule", POINTS)
def test_a_lifetime_ends_the_same_both_ways(rule: str, network: str) -> None:
    found = two_ways(NETWORKS[network], point(rule, network), torch.float64)
    assert found.most < 1e-12
    assert found.moved > 1e-3  # else nothing was compared


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rule", POINTS)
def test_a_lifetime_ends_the_same_both_ways_in_float32(rule: str, network: str) -> None:
    assert two_ways(NETWORKS[network], point(rule, network), torch.float32).most < 1e-6


def test_every_rule_with_signals_is_among_them() -> None:
    with_signals = {name for name, kind in rules().items() if kind.route != "inverse"}
    assert with_signals == POINTS.keys() - OTHERS.keys()


LEARNERS = {
    "delta": lambda: LearningRule(Backprop(), Delta(rate=0.02, per="shared")),
    "adaptive": lambda: LearningRule(Backprop(), Adaptive(rate=1e-3, small=1e-4, per="shared")),
    "delta, random feedback": lambda: LearningRule(
        RandomFeedback(weights="redrawn"), Delta(rate=0.02, per="shared")
    ),
}


@pytest.mark.parametrize("network", ["conv", "residual", "attention"])
@pytest.mark.parametrize("rule", LEARNERS)
def test_what_is_at_no_site_goes_along_alike(rule: str, network: str) -> None:
    tiny, rule_ = NETWORKS[network], LEARNERS[rule]()
    x, y = examples(tiny, torch.float64)
    model = tiny.make(torch.float64)
    net = PlasticModule(copy.deepcopy(model), rule_, example=x[0], seed=SEED)
    found, others = net.sites, net.memory.network.others
    assert others
    seen = PlasticNetwork(model, found, ObjectiveTeacher(CrossEntropy(CLASSES)), others=others)
    own = net.credit.rule
    state = initial_state(own, seen, SEED)
    with torch.no_grad():
        for given, target in zip(x, y, strict=True):
            state, answer = step(own, seen, state, given, target)
            torch.testing.assert_close(net(given), answer, rtol=1e-12, atol=1e-12)
            net.learn(target)
    assert apart(state, net, dict(model.named_parameters())).most < 1e-12
    norms = [name for name in others if name in state.weights]
    assert all(not torch.equal(state.weights[n], model.get_parameter(n)) for n in norms)


def test_a_rule_by_its_name_is_the_rule_of_its_class() -> None:
    x, y = examples(NETWORKS["residual"], torch.float32)
    for name, kind in rules().items():
        if kind.route == "inverse":
            continue
        one, other = (
            PlasticModule(NETWORKS["residual"].make(torch.float32), rule, example=x[0], seed=SEED)
            for rule in (name, kind())
        )
        for net in (one, other):
            net(x[0])
            net.learn(y[0])
        pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs), name


FLP = {
    "label, Hebb": lambda: LearningRule(Direct(), Hebb(rate=0.05)),
    "error, Oja": lambda: LearningRule(Direct(teaching="error"), Oja(rate=0.05)),
    "two layers of feedback": lambda: LearningRule(Direct(depth=2, width=5), Oja(rate=0.05)),
}


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("rule", FLP)
def test_flp_in_any_network_is_flp_written_out(rule: str, network: str) -> None:
    tiny = NETWORKS[network]
    x, y = (given.expand(2, *given.shape) for given in examples(tiny, torch.float64))
    ends = []
    for shape in (tiny.shape, None):
        made: nn.Module = tiny.make(torch.float64)
        torch.manual_seed(0)
        learner = OnlineLearner(made, FLP[rule](), CrossEntropy(CLASSES), input_shape=shape)
        learner.double()
        with torch.no_grad():
            first = learner.initialize(y, torch.arange(2))
            below = learner.encode(x.flatten(0, 2)).reshape(2, STEPS, BATCH, *_below(learner, tiny))
            ends.append(learner.adapt(below, y, first))
    generic, written_out = ends
    weights = State.of_flat(generic).weights
    assert weights.keys() <= written_out.keys()
    for name, value in weights.items():
        torch.testing.assert_close(value, written_out[name], rtol=1e-12, atol=1e-12)


def _below(learner: OnlineLearner, tiny: Tiny) -> torch.Size:
    some: Tensor = learner.encode(torch.zeros(1, *tiny.shape, dtype=torch.float64))
    return some.shape[1:]
