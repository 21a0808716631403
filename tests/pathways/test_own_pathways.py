"""A pathway or an alignment rule of one's own is what it says, wherever it is used."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaplastic import Delta, FeedbackPathway, LearningRule, PlasticModule, RandomFeedback, credit
from metaplastic.alignment import Alignment
from metaplastic.alignment.base import AtSite


class Signs(FeedbackPathway):
    """Signals go back through the signs of the weights; there is no feedback to keep."""

    def __init__(self) -> None:
        super().__init__()
        self.options = {}

    def carrier(self, weight: Tensor, feedback: Tensor) -> Tensor:
        return weight.sign()


class Halfway(RandomFeedback):
    """Half the weight, half the feedback."""

    def carrier(self, weight: Tensor, feedback: Tensor) -> Tensor:
        return 0.5 * (weight + feedback)


class Copies(Alignment):
    """Every change of the weight, and nothing declared."""

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        return site.change


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def minibatch() -> tuple[Tensor, Tensor]:
    x = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return x, torch.tensor([0, 1, 2, 0])


def rule(pathway: FeedbackPathway, alignment: Alignment | None = None) -> LearningRule:
    return LearningRule(pathway, Delta(rate=0.125, per="shared"), alignment)


def test_a_carrier_without_feedback_is_no_backpropagation() -> None:
    (x, y), model = minibatch(), network()
    signal = (F.softmax(model(x), 1) - F.one_hot(y, 3)) / 4
    expected = ((signal @ model[2].weight.sign()) * (1 - model[0](x).tanh() ** 2)).T @ x
    credit(rule(Signs()), model, example=x).backward(model, x, y, F.cross_entropy)
    assert model[0].weight.grad is not None
    assert torch.allclose(model[0].weight.grad, expected, atol=1e-12)
    twin = network()
    net = PlasticModule(twin, rule(Signs()), example=x)
    net(x)
    net.learn(y)
    assert torch.allclose(twin[0].weight, network()[0].weight - 0.125 * expected, atol=1e-12)


def test_a_carrier_written_anew_is_not_run_by_the_written_out_executor() -> None:
    assert RandomFeedback().written_out
    assert not Halfway().written_out
    assert not Signs().written_out


def test_an_alignment_of_one_method_follows_and_sees_the_change() -> None:
    (x, y), model = minibatch(), network()
    net = PlasticModule(model, rule(RandomFeedback(weights="redrawn"), Copies()), example=x)
    before = {name: net.credit.feedback(name).clone() for name in ("0", "2")}
    first = copy.deepcopy(model)
    for _ in range(3):
        net(x)
        net.learn(y)
    for name in before:
        moved = model.get_submodule(name).weight - first.get_submodule(name).weight
        assert torch.allclose(net.credit.feedback(name) - before[name], moved, atol=1e-12)
        assert moved.abs().max() > 1e-4
