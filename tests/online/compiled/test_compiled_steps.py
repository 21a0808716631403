"""Compiled steps are the steps, in every way of use; or a sentence says why they are not."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.lab.exact.networks import NETWORKS
from experiments.lab.exact.points import POINTS, point
from experiments.lab.exact.two_ways import two_ways
from metaplastic import PlasticModule
from metaplastic.online.norms import Norms
from tests.helpers.compiled import alike, lives, pair, small, x_of

SOME = ("kolen_pollack", "symmetric_alignment", "mirrored, adaptive", "polynomial, direct")


@pytest.fixture(autouse=True)
def _nothing_compiled_before() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("rule", POINTS)
def test_every_rule_has_the_lifetime_of_the_learner(rule: str) -> None:
    found = two_ways(NETWORKS["residual"], point(rule, "residual"), torch.float64, compiled=True)
    assert found.most < 1e-12
    assert found.moved > 1e-3


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rule", SOME)
def test_every_network_has_it(rule: str, network: str) -> None:
    found = two_ways(NETWORKS[network], point(rule, network), torch.float64, compiled=True)
    assert found.most < 1e-12


def test_each_form_of_inputs_has_its_program() -> None:
    nets = pair(small(), example=x_of(2))
    for batch in (1, 4, 1, 7):
        lives(nets, x_of(batch), y=torch.zeros(batch, dtype=torch.int64))
    assert nets[1].is_compiled
    assert nets[1]._passes is not None
    assert nets[1]._passes.compiled is not None
    assert nets[1]._passes.compiled.forms == 3


class Scaled(nn.Module):
    """What it does depends on a flag, an attribute and a global."""

    factor = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.factor * torch.tanh(self.first(x))
        out: Tensor = self.second(h if self.first.training else -h)
        return out


def test_flags_and_attributes_that_change_are_seen() -> None:
    torch.manual_seed(0)
    nets = pair(Scaled().double(), example=x_of(2))
    y = torch.tensor([0, 2])
    lives(nets, x_of(2), y=y)
    for net in nets:
        net.model.factor = 0.5
    lives(nets, x_of(2), y=y)
    for net in nets:
        net.model.first.eval()
    lives(nets, x_of(2), y=y)
    assert nets[1].is_compiled


def test_rates_may_change_at_any_time() -> None:
    nets = pair(small(), example=x_of(2))
    y = torch.tensor([0, 2])
    for scale in (1.0, 0.1, 3.0):
        for net in nets:
            net.rate_scale = scale
        lives(nets, x_of(2), y=y)


def test_a_rule_that_is_changed_is_seen() -> None:
    nets = pair(small(), POINTS["mirrored, adaptive"](), example=x_of(2))
    y = torch.tensor([0, 2])
    for clip in (None, 0.1, 0.05):
        for net in nets:
            net.plasticity.clip = clip
        lives(nets, x_of(2), y=y)
    assert nets[1].is_compiled


@pytest.mark.parametrize("norms", ["stored", "slow", "own"])
@pytest.mark.parametrize("rule", ["kolen_pollack", "polynomial, direct"])
def test_statistics_of_a_batch_norm_move_alike(rule: str, norms: Norms) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    ).double()
    x = torch.randn(3, 2, 4, 4).double()
    named: Any = rule if rule == "kolen_pollack" else POINTS[rule]()
    nets = pair(model, named, example=x, norms=norms)
    lives(nets, x, y=torch.tensor([0, 1, 2]))
    assert nets[1].is_compiled
    moved = not torch.equal(nets[1].model[1].running_mean, torch.zeros(4).double())
    assert moved == (norms != "stored")


class Many(nn.Module):
    """Several inputs by name, and a dictionary of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor, *, shift: Tensor) -> dict[str, Tensor]:
        h = torch.relu(self.first(x)) + shift
        return {"hidden": h, "logits": self.second(h)}


def test_any_form_of_inputs_outputs_and_losses() -> None:
    torch.manual_seed(0)
    x, shift, y = x_of(2), torch.randn(5).double(), torch.tensor([0, 2])

    def loss_fn(output: dict[str, Tensor], y: Tensor) -> Tensor:
        return F.cross_entropy(output["logits"], y, label_smoothing=0.1)

    for loss in (None, loss_fn):
        nets = pair(Many().double(), example={"x": x, "shift": shift}, loss_fn=loss)
        lives(nets, x, shift=shift, y=y)
        assert nets[1].is_compiled


def test_real_numbers_and_tokens_are_learned_alike() -> None:
    nets = pair(small(), example=x_of(2))
    lives(nets, x_of(2), y=torch.randn(2, 3).double())
    x = torch.randn(2, 4, 6).double()
    nets = pair(small(), "feedback_alignment", example=x)
    lives(nets, x, y=torch.tensor([[0, 1, 2, -100], [2, 2, -100, 0]]))


def test_the_callers_grad_mode_does_not_matter() -> None:
    nets = pair(small(), example=x_of(2))
    with torch.no_grad():
        lives(nets, x_of(2), y=torch.tensor([0, 2]))
    lives(nets, x_of(2).requires_grad_(), y=torch.tensor([0, 2]))
    assert all(p.grad is None for p in nets[1].parameters())


def test_nothing_changes_where_a_step_is_refused() -> None:
    net = PlasticModule(small(), "kolen_pollack", example=x_of(2), rate=0.1, compile=True)
    y = torch.tensor([0, 2])
    net(x_of(2))
    net.learn(y)
    before = copy.deepcopy(net.state_dict())
    bad = x_of(2)
    bad[0, 0] = torch.inf
    net(bad)
    with pytest.raises(FloatingPointError, match="not finite"):
        net.learn(y)
    x = x_of(2)
    net(x)
    x.zero_()
    with pytest.raises(RuntimeError, match="written over"):
        net.learn(y)
    with pytest.raises(RuntimeError, match="call net"):
        net.learn(y)
    net(x_of(2))
    with pytest.raises(ValueError, match=r"label"):
        net.learn(torch.tensor([0, 9]))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("how", ["copied", "saved", "state"])
def test_a_lifetime_goes_on_in_a_copy(how: str) -> None:
    y = torch.tensor([0, 2])
    net = PlasticModule(small(), POINTS["mirrored, adaptive"](), example=x_of(2), compile=True)
    net(x_of(2))
    net.learn(y)
    net(x_of(2))  # not learned from
    if how == "copied":
        other = copy.deepcopy(net)
    elif how == "saved":
        file = io.BytesIO()
        torch.save(net, file)
        file.seek(0)
        other = torch.load(file, weights_only=False)
    else:
        rule = POINTS["mirrored, adaptive"]()
        other = PlasticModule(small(), rule, example=x_of(2), compile=True)
        other(x_of(2))
        other.learn(y)
        other.load_state_dict(net.state_dict())
    for one in (net, other):
        for _ in range(6):  # through a phase of sleep
            one(x_of(2))
            one.learn(y)
    assert other.is_compiled
    alike([net, other])


def test_a_model_that_is_moved_or_exchanged_is_compiled_anew() -> None:
    net = PlasticModule(small(), "kolen_pollack", example=x_of(2), rate=0.1, compile=True)
    y = torch.tensor([0, 2])
    net(x_of(2))
    net.learn(y)
    net.float()
    plain = copy.deepcopy(net)
    plain.compiles = False
    for one in (net, plain):
        one(x_of(2).float())
        one.learn(y)
    assert net.is_compiled
    assert not plain.is_compiled
    one, other = net.state_dict(), plain.state_dict()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-5, atol=1e-6)
