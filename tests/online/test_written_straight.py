"""Steps written straight into the weights are the general ones, and leave what is frozen."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metaplastic import LearningRule, PlasticModule, from_pretrained
from metaplastic.alignment import KolenPollackAlignment
from metaplastic.online import fast
from metaplastic.pathways import RandomDirect, RandomFeedback
from metaplastic.plasticity.polynomial import Polynomial

Make = Callable[[], nn.Sequential]
NETWORKS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "dense": (
        lambda: nn.Sequential(
            nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)
        ),
        (6,),
    ),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Conv2d(4, 4, 3), nn.Tanh(), nn.Flatten(),
            nn.Linear(16, 3),
        ),
        (1, 6, 6),
    ),
}  # fmt: skip


def polynomial() -> Polynomial:
    terms = ("signal_pre", "hebb", "oja", "unit_oja", "decay")
    return Polynomial(terms, first={name: 0.02 * (i + 1) for i, name in enumerate(terms)})


RULES: dict[str, Callable[[], Any]] = {
    "direct": lambda: LearningRule(RandomDirect(), polynomial()),
    "follows": lambda: LearningRule(
        RandomFeedback(), polynomial(), alignment=KolenPollackAlignment(decay=0.0)
    ),
    "follows and decays": lambda: LearningRule(
        RandomFeedback(), polynomial(), alignment=KolenPollackAlignment(decay=0.1)
    ),
}
TAKEN: dict[str, Callable[[], Any]] = RULES | {
    "named": lambda: "kolen_pollack",
    "aligned": lambda: from_pretrained("aligned").rule,
    "found for characters": lambda: from_pretrained("omniglot_relative").rule,
}


def data(shape: tuple[int, ...], batch: int) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(1)
    x = torch.randn(batch, *shape, generator=made, dtype=torch.float64)
    return x, torch.randint(3, (batch,), generator=made)


@pytest.mark.parametrize("batch", [1, 40])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rule", RULES)
def test_weights_and_feedback_are_those_of_the_general_step(
    rule: str, network: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, shape = NETWORKS[network]
    torch.manual_seed(0)
    model, (x, y) = make().double(), data(shape, batch)
    start, served, found = copy.deepcopy(model), [], []
    serves = fast.serves
    for straight in (True, False):
        monkeypatch.setattr(
            fast,
            "serves",
            lambda *a, way=straight: served.append(serves(*a)) or (way and serves(*a)),
        )
        net = PlasticModule(copy.deepcopy(model), RULES[rule](), example=x, seed=2)
        for _ in range(3):
            net(x)
            net.learn(y)
        found.append(net.state_dict())
    assert all(served)
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-10, atol=1e-12, msg=name)
    assert (found[0]["model.0.weight"] - start[0].weight).abs().max() > 1e-3


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("batch", [1, 40])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rule", TAKEN)
def test_what_is_frozen_stays_to_the_bit(
    rule: str, network: str, batch: int, compiled: bool
) -> None:
    make, shape = NETWORKS[network]
    torch.manual_seed(0)
    model, (x, y) = make().double(), data(shape, batch)
    for parameter in model[2].parameters():
        parameter.requires_grad_(False)
    start = copy.deepcopy(model)
    net = PlasticModule(model, TAKEN[rule](), example=x, compile=compiled)
    for _ in range(2):
        net(x)
        net.learn(y)
    for i, same in ((0, False), (2, True)):
        for one, other in zip(model[i].parameters(), start[i].parameters(), strict=True):
            assert torch.equal(one, other) == same
