"""A polynomial's change of whole layers is the sum over rows that `two_sided_delta` writes out."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metaplastic import LearningRule, PlasticModule
from metaplastic.inner import site_change
from metaplastic.pathways.direct_random import RandomDirect
from metaplastic.plasticity.polynomial import Polynomial

TERMS = {
    "as found": ("signal_pre", "signal_back", "oja"),  # fewer products by what is behind a synapse
    "by input": ("signal_pre", "hebb", "three_factor", "unit_oja"),
    "all light": (
        "signal_pre", "post_back", "signal_back", "decay", "back", "signal_total_pre", "oja",
        "hebb", "unit_oja", "signal_oja", "three_factor",
    ),
}  # fmt: skip
NETWORKS = {
    "dense": (lambda: nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3)), (6,)),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.Tanh(),
            nn.Conv2d(4, 4, (3, 3), groups=2, dilation=(1, 2), padding="same"), nn.Tanh(),
            nn.Flatten(), nn.Linear(64, 3),
        ),
        (2, 7, 7),
    ),
}  # fmt: skip


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("batch", [1, 5, 20])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("terms", TERMS)
def test_whole_layers_change_as_their_rows_do(terms, network, batch, normalized, monkeypatch):
    torch.manual_seed(0)
    make, shape = NETWORKS[network]
    model, x = make().double(), torch.randn(batch, *shape, dtype=torch.float64)
    y = torch.randint(3, (batch,))
    first = {name: 0.01 * (i + 1) for i, name in enumerate(TERMS[terms])}
    found, start = [], [p.detach().clone() for p in model.parameters()]
    for in_layers in (True, False):
        if not in_layers:
            monkeypatch.setattr(site_change, "in_whole_layers", lambda *_: False)
        rule = LearningRule(
            RandomDirect(), Polynomial(TERMS[terms], first=first, normalized=normalized)
        )
        net = PlasticModule(copy.deepcopy(model), rule, example=x, loss_fn=F.cross_entropy)
        for _ in range(3):
            net(x)
            net.learn(y)
        found.append([p.detach().clone() for p in net.parameters()])
    assert any((a - b).abs().max() > 1e-3 for a, b in zip(found[0], start, strict=True))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
