"""A step that writes large changes in the loop that computes them is the same step."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from metaplastic import LearningRule, PlasticModule
from metaplastic.alignment import KolenPollackAlignment
from metaplastic.online.compiled import in_place
from metaplastic.pathways import RandomFeedback
from metaplastic.plasticity.adaptive import Adaptive
from tests.helpers.compiled import alike, pair, small, x_of

Y = torch.tensor([2])


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if small layers were large ones."""
    monkeypatch.setattr(in_place, "LARGE", 2)


def both(**options: object) -> list[PlasticModule]:
    rule = LearningRule(
        RandomFeedback(), Adaptive(rate=0.05, **options), KolenPollackAlignment(decay=0)
    )
    return pair(small(), rule, "inductor", seed=1, example=x_of(1))


def steps(nets: list[PlasticModule], number: int = 4, scale: float = 1.0) -> None:
    for i in range(number):
        for net in nets:
            net(scale * x_of(1, seed=i))
            net.learn(Y)


def in_place_of(net: PlasticModule) -> in_place.InPlace:
    form = net._passes.compiled.form
    assert form is not None
    assert form.short is not None, "the step is not written in place"
    found: in_place.InPlace = form.in_place
    return found


@pytest.mark.parametrize(
    "options",
    [{}, {"nesterov": 0.5, "fan_in": 0.4}, {"clip": 2.0}, {"decay": 30.0, "power": 0.7}],
    ids=str,
)
def test_the_same_lifetime(options: dict[str, float]) -> None:
    nets = both(**options)
    steps(nets, 20)
    assert in_place_of(nets[1]).targets
    alike(nets)


def test_parts_that_are_larger_than_was_assumed_go_the_long_way() -> None:
    nets = both()
    steps(nets, 3)
    before = in_place_of(nets[1]).seen
    steps(nets, 3, scale=1e8)
    assert in_place_of(nets[1]).seen == before  # in place nothing has been written since
    alike(nets)
    steps(nets, 3)
    alike(nets)


def test_traces_that_somebody_wrote_are_looked_at() -> None:
    nets = both()
    steps(nets, 3)
    for net in nets:
        with torch.no_grad():
            for name, buffer in net.memory.named_buffers():
                if "square" in name:
                    buffer.fill_(1e30)
    steps(nets, 1)
    alike(nets)
    for net in nets:
        with torch.no_grad():
            for name, buffer in net.memory.named_buffers():
                if "square" in name:
                    buffer.fill_(1e-3)
    steps(nets, 3)
    alike(nets)
    assert in_place_of(nets[1])._versions() == in_place_of(nets[1]).seen


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_changes_nothing(bad: float) -> None:
    nets = both()
    steps(nets, 3)
    before = copy.deepcopy(nets[1].state_dict())
    nets[1](torch.full((1, 6), bad, dtype=torch.float64))
    with pytest.raises(FloatingPointError):
        nets[1].learn(Y)
    for name, value in nets[1].state_dict().items():
        assert torch.equal(value, before[name])
    steps(nets, 2)
    alike(nets)


def test_a_rate_that_changes_is_followed() -> None:
    nets = both()
    steps(nets, 2)
    for net in nets:
        net.rate_scale = 0.1
    steps(nets, 2)
    alike(nets)
    for net in nets:
        net.rate_scale = 1e6  # larger than was assumed
    steps(nets, 1)
    alike(nets)


def test_a_state_that_is_loaded_goes_on() -> None:
    nets = both()
    steps(nets, 3)
    kept = copy.deepcopy(nets[0].state_dict())
    steps(nets, 3)
    for net in nets:
        net.load_state_dict(kept)
    steps(nets, 3)
    alike(nets)


class Grows(Adaptive):
    """Its trace grows in every step, so that nothing bounds it."""

    def along(self, push, rate, traces, step):  # type: ignore[no-untyped-def]
        change, kept = super().along(push, rate, traces, step)
        return change, {**kept, "square": traces["square"] * 1.1 + push.square()}


@pytest.mark.parametrize("plasticity", [Grows(rate=0.01), Adaptive(rate=0.01, weight_decay=0.1)])
def test_a_rule_whose_changes_nothing_bounds_is_written_behind(plasticity: Adaptive) -> None:
    rule = LearningRule(RandomFeedback(), plasticity, KolenPollackAlignment(decay=0))
    nets = pair(small(), rule, "inductor", seed=1, example=x_of(1))
    steps(nets, 3)
    assert nets[1]._passes.compiled.form.short is None
    alike(nets)


def test_a_convolution_keeps_its_product() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)).double()
    rule = LearningRule(RandomFeedback(), Adaptive(rate=0.05), KolenPollackAlignment(decay=0))
    example = torch.randn(2, 2, 6, 6).double()
    nets = pair(model, rule, "inductor", seed=1, example=example)
    for _ in range(4):
        for net in nets:
            net(example)
            net.learn(torch.tensor([0, 2]))
    alike(nets)


@pytest.mark.parametrize(
    ("rule", "writes"), [("feedback_alignment", False), ("kolen_pollack", True)]
)
def test_a_product_of_many_rows_is_added_where_it_is_computed(
    rule: str, writes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_place, "LARGE", 15)  # weights, not biases
    x, y = x_of(8), torch.arange(8) % 3
    nets = pair(small(), rule, "inductor", seed=1, example=x, rate=0.1)
    for _ in range(4):
        for net in nets:
            net(x)
            net.learn(y)
    assert (nets[1]._passes.compiled.form.short is not None) == writes
    alike(nets)
