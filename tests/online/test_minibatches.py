"""Minibatches and losses of any kind, learned in place: means, soft labels, and none at all."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaplastic import PlasticModule, from_pretrained
from metaplastic.inner.teacher import LossTeacher
from metaplastic.online.losses import usual_loss
from tests.helpers.users_networks import EVERY, IDS, RULES, Hidden, Tokens, X, Y, plastic


@EVERY
def test_an_empty_minibatch_is_a_sentence_and_changes_nothing(rule: str) -> None:
    net = plastic(Hidden(), rule, X)
    before = copy.deepcopy(net.state_dict())
    net(X[:0])
    with pytest.raises(ValueError, match="empty"):
        net.learn(Y[:0])
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    net(X)
    assert net.learn(Y).isfinite()


LOSSES = {
    "the usual one": None,
    "cross-entropy": F.cross_entropy,
    "smoothed": nn.CrossEntropyLoss(label_smoothing=0.1),
}


@pytest.mark.parametrize("rule", [*RULES, "direct_feedback_alignment", "uniform_sign"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("copies", [2, 7])
def test_copies_of_an_example_teach_what_it_teaches_alone(
    copies: int, loss: str, rule: str
) -> None:
    one = Hidden().double()
    many = copy.deepcopy(one)
    x, y = X[:1].double(), Y[:1]
    for model, times in ((one, 1), (many, copies)):
        net = plastic(model, rule, x, loss_fn=LOSSES[loss])
        net(x.repeat(times, 1))
        net.learn(y.repeat(times))
    for a, b in zip(one.parameters(), many.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.filterwarnings("ignore:.*the rule changes nothing else")
@EVERY
def test_copies_of_a_sentence_teach_what_it_teaches_alone(rule: str) -> None:
    one = Tokens().double()
    many = copy.deepcopy(one)
    for model, times in ((one, 1), (many, 3)):
        net = plastic(model, rule, IDS[:1])
        net(IDS[:1].repeat(times, 1))
        net.learn(IDS[:1].repeat(times, 1))
    for a, b in zip(one.parameters(), many.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@EVERY
def test_soft_labels_are_learned_from_by_the_loss_that_takes_them(rule: str) -> None:
    hard = F.one_hot(Y, 3).float()
    one = Hidden()
    other = copy.deepcopy(one)
    for model, target, loss in ((one, hard, F.cross_entropy), (other, Y, None)):
        net = plastic(model, rule, X, loss_fn=loss)
        net(X)
        net.learn(target)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
    before = one.above.weight.detach().clone()
    net = plastic(one, rule, X, loss_fn=F.cross_entropy)
    net(X)
    net.learn(0.5 * hard + 0.5 / 3)
    assert not torch.equal(before, one.above.weight)


def test_the_prediction_is_a_softmax_over_classes_wherever_they_are() -> None:
    tokens, places = torch.randn(2, 4, 5), torch.randn(2, 5, 3, 4)
    labels = torch.zeros(2, 4, dtype=torch.int64), torch.zeros(2, 3, 4, dtype=torch.int64)
    teacher = LossTeacher(usual_loss)
    assert torch.equal(teacher.answer(tokens, labels[0]), tokens.softmax(-1))
    assert torch.equal(teacher.answer(places, labels[1]), places.softmax(1))
    assert torch.equal(teacher.answer(tokens, torch.randn(2, 4, 5)), tokens)
    soft = LossTeacher(F.cross_entropy)
    assert torch.equal(soft.answer(places, places.softmax(1)), places.softmax(1))


def test_the_whole_output_goes_to_a_loss_of_ones_own() -> None:
    class Two(Hidden):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.below(x).tanh()
            return self.above(h), h

    seen = []

    def loss(output: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
        seen.append(len(output))
        return F.cross_entropy(output[0], y) + 0.0 * output[1].sum()

    one = Two()
    other = copy.deepcopy(one)
    for model, given in ((one, loss), (other, None)):
        net = plastic(model, "backprop", X, loss_fn=given)
        net(X)
        net.learn(Y)
    assert seen == [2]
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b)


class Evaluating(nn.BatchNorm1d):
    """A norm that is never in train mode."""

    def train(self, mode: bool = True) -> Evaluating:
        return super().train(False)


@pytest.mark.parametrize("rule", ["omniglot_relative", "aligned"])
def test_stored_statistics_are_used_and_stay_whatever_a_rule_reads(rule: str) -> None:
    def learned(norm: nn.BatchNorm1d) -> dict[str, Tensor]:
        torch.manual_seed(0)
        assert norm.running_mean is not None
        norm.running_mean.normal_()
        model = nn.Sequential(nn.Linear(6, 8), norm, nn.ReLU(), nn.Linear(8, 3)).double()
        x = torch.linspace(-1, 1, 6, dtype=torch.float64)[None]
        net = PlasticModule(model, from_pretrained(rule).rule, example=x)
        for label in (0, 2, 1):
            net(x + label)
            net.learn(torch.tensor([label]))
        return model.state_dict()

    norm = nn.BatchNorm1d(8)
    found, expected = learned(norm), learned(Evaluating(8))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-14, msg=name)
