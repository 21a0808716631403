"""Networks that learn in place: the same steps as by gradients, and as in meta-training."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaplastic import (
    CrossEntropy,
    Delta,
    Direct,
    LearningRule,
    Oja,
    OnlineLearner,
    PlasticModule,
    RandomDirect,
)
from metaplastic.pathways.carried_back import Backprop
from metaplastic.pathways.sequential import RandomFeedback
from metaplastic.plasticity.polynomial import Polynomial
from metaplastic.plasticity.terms import POOL


def network(inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(inplace=inplace), nn.Flatten(), nn.Linear(36, 16),
        nn.Tanh(), nn.Linear(16, 3),
    ).double()  # fmt: skip


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(5, 1, 8, 8, dtype=torch.float64, generator=generator)
    return x, torch.randint(3, (5,), generator=generator)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("rule", ["bp", "fa", "dfa", "usf"])
def test_the_delta_rule_is_a_step_down_the_credited_gradient(rule: str, inplace: bool) -> None:
    (x, y), model = batch(), network(inplace)
    net = PlasticModule(copy.deepcopy(model), rule, example=x, rate=0.125)
    assert torch.equal(net(x), model(x))
    loss = net.learn(y)
    assert loss == pytest.approx(
        net.credit.backward(model, x, y, F.cross_entropy).item(), abs=1e-12
    )
    for changed, was in zip(net.model.parameters(), model.parameters(), strict=True):
        assert was.grad is not None
        assert torch.allclose(changed, was - 0.125 * was.grad, atol=1e-14)


def connected() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 6), nn.Softplus(),
        nn.Linear(6, 3),
    ).double()  # fmt: skip


PATHWAYS: dict[str, Any] = {
    "backprop": Backprop,
    "random": RandomFeedback,
    "random, leveled": lambda: RandomFeedback(level=True),
    "direct": RandomDirect,
    "direct, leveled": lambda: RandomDirect(level=True),
}


@pytest.mark.parametrize("terms", [POOL, ("signal_pre",), ("hebb", "unit_oja", "three_factor")])
@pytest.mark.parametrize("pathway", PATHWAYS)
def test_a_meta_learned_rule_does_what_it_did_where_it_was_learned(
    terms: tuple[str, ...], pathway: str
) -> None:
    x, y = batch()
    first = {name: 0.03 * (1 + i) for i, name in enumerate(terms)}
    feedback, network_ = PATHWAYS[pathway](), connected if "direct" in pathway else network
    rule = LearningRule(feedback, Polynomial(terms, first=first, normalized="leveled" in pathway))
    learner = OnlineLearner(network_(), rule, CrossEntropy(3)).double()
    net = PlasticModule(network_(), learner.rule, example=x)
    for key, drawn in getattr(feedback, "feedback", {}).items():
        net.credit.feedback(key).copy_(drawn.detach())
    steps = 3
    with torch.no_grad():
        encoded = learner.encode(x)
        fast = learner.initialize(
            y[None, None].expand(1, steps, 5), torch.zeros(1, dtype=torch.long)
        )
        fast = learner.adapt(
            encoded[None, None].expand(1, steps, *encoded.shape),
            y[None, None].expand(1, steps, 5), fast,
        )  # fmt: skip
    for _ in range(steps):
        net(x)
        net.learn(y)
    for name, weight in net.model.named_parameters():
        if name in fast:
            assert torch.allclose(weight, fast[name][0], atol=1e-7), name


def test_learning_lowers_the_loss_of_a_residual_network_by_feedback_alignment() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.norm = nn.Linear(8, 8), nn.Linear(8, 8), nn.LayerNorm(8)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.two(F.relu(self.norm(self.one(x))))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    x, y = torch.randn(32, 8), torch.randint(3, (32,))
    net = PlasticModule(nn.Sequential(Block(), Block(), nn.Linear(8, 3)), "fa", example=x, rate=0.1)
    losses = []
    for _ in range(60):
        net(x)
        losses.append(net.learn(y).item())
    assert losses[-1] < 0.7 * losses[0]


def test_only_train_mode_remembers_and_every_output_is_learned_from_once() -> None:
    x, y = batch()
    net = PlasticModule(network(), "fa", example=x)
    net.eval()(x)
    with pytest.raises(RuntimeError, match="no answer to learn from"):
        net.learn(y)
    answer = net.train()(x)
    assert not answer.requires_grad
    net.learn(y)
    with pytest.raises(RuntimeError, match="no answer to learn from"):
        net.learn(y)
    assert not any(m._forward_hooks for m in net.modules())


def test_a_transplant_says_what_was_copied_and_what_is_a_mean() -> None:
    x, y = batch()
    rule = LearningRule(Backprop(), Delta(rate=0.5, per="layer"))
    learned = OnlineLearner(nn.Sequential(*network()[2:]), rule, CrossEntropy(3)).double()
    learned.rule.plasticity.rates["1"].data.fill_(0.1)
    learned.rule.plasticity.rates["3"].data.fill_(0.3)
    wide = nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.Linear(9, 9), nn.Linear(9, 3)).double()
    net = PlasticModule(wide, learned.rule, example=x)
    assert net.transplant.report == {
        "1": "rates copied, no feedback",
        "2": "rates are the mean of all that were learned, no feedback",
        "3": "rates copied, no feedback",
    }
    assert net.plasticity.rates["2"].item() == pytest.approx(0.2)
    assert learned.rule.plasticity.rates["1"].item() == pytest.approx(0.1)
    assert "2: rates are the mean" in str(net.transplant)
    net(x)
    net.learn(y)


def test_regression_and_losses_of_ones_own() -> None:
    x, _ = batch()
    y, model = torch.randn(5, 3, dtype=torch.float64), network()
    expected = copy.deepcopy(model)
    (0.5 * (expected(x) - y).square().sum() / 5).backward()
    own: Any = lambda out, y: 0.5 * (out - y).square().sum() / len(y)  # noqa: E731
    for loss_fn in (None, own):
        net = PlasticModule(copy.deepcopy(model), "bp", example=x, rate=0.25, loss_fn=loss_fn)
        net(x)
        net.learn(y)
        for a, b in zip(net.model.parameters(), expected.parameters(), strict=True):
            assert b.grad is not None
            assert torch.allclose(a, b - 0.25 * b.grad, atol=1e-14)


def test_what_cannot_be_plugged_in_gets_a_sentence() -> None:
    x, _ = batch()
    clamped = LearningRule(Direct(), Oja(rate=0.1))
    with pytest.raises(ValueError, match="has the sizes of the network"):
        PlasticModule(network(), clamped, example=x)
    rule = LearningRule(Backprop(), Delta(rate=0.1), hidden_multiplier=100.0)
    with pytest.raises(ValueError, match="hidden_multiplier"):
        PlasticModule(network(), rule, example=x)
    with pytest.raises(RuntimeError, match="No minibatch has been seen yet"):
        print(PlasticModule(network(), "fa").sites)

    class Overwrites(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = self.one(x).tanh()
            out = self.two(h)
            h.add_(1.0)
            return out  # type: ignore[no-any-return]

    net = PlasticModule(Overwrites(), "fa", example=torch.randn(2, 4))
    net(torch.randn(2, 4))
    with pytest.raises(RuntimeError, match=r"'two' was written over"):
        net.learn(torch.zeros(2, dtype=torch.long))


def test_without_an_example_sites_are_found_on_the_first_minibatch() -> None:
    x, y = batch()
    now, later = (PlasticModule(network(), "kp", example=e, rate=0.1) for e in (x, None))
    for net in (now, later):
        net.eval()(x)
        net.train()(x)
        net.learn(y)
    assert later.sites.names == now.sites.names
    pairs = zip(now.state_dict().values(), later.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
