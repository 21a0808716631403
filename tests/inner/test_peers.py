"""OML's and MAML's meta-gradient against two other libraries: `higher` and learn2learn."""

from __future__ import annotations

import os
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.lab.reference_libraries import PeerMissingError, peer
from metaplastic import Backprop, Delta, Episode, LearningRule, OnlineLearner
from tests.helpers.lifetimes import apart, dense, episodes, learned, learner

pytestmark = [
    pytest.mark.peer,
    # Neither has been changed since; both warn of what they use, on today's Python and torch.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:higher"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:learn2learn"),
]
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}
RATE = 0.125  # exact in float32, so that casting a learner to float64 changes nothing


def installed(name: Literal["higher", "learn2learn"]) -> Any:
    try:
        return peer(name)
    except PeerMissingError as reason:
        if "METAPLASTIC_NEED_PEERS" in os.environ:
            raise
        pytest.skip(str(reason))


def parts(made: OnlineLearner) -> tuple[nn.Module, nn.Module, float]:
    """What a peer needs of a learner: its network, its encoder and its inner rate."""
    assert made.encoder is not None
    return made.network, made.encoder, made.rule.plasticity.initial


def by_higher(made: OnlineLearner, episode: Episode, second_order: bool) -> list[Tensor]:
    """The query loss of each task after SGD by a differentiable optimizer."""
    higher, losses = installed("higher"), []
    network, encoder, rate = parts(made)
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    for x, y, qx, qy in zip(*_of_tasks(episode), strict=True):
        with higher.innerloop_ctx(network, optimizer, copy_initial_weights=False) as (fast, inner):
            for step_x, step_y in zip(x, y, strict=True):
                loss = F.cross_entropy(fast(encoder(step_x)), step_y)
                if second_order:
                    inner.step(loss)
                else:
                    inner.step(loss, grad_callback=lambda grads: [g.detach() for g in grads])
            losses.append(F.cross_entropy(fast(encoder(qx)), qy))
    return losses


def by_learn2learn(made: OnlineLearner, episode: Episode, second_order: bool) -> list[Tensor]:
    maml, losses = installed("learn2learn"), []
    network, encoder, rate = parts(made)
    outer = maml(network, lr=rate, first_order=not second_order)
    for x, y, qx, qy in zip(*_of_tasks(episode), strict=True):
        fast = outer.clone()
        for step_x, step_y in zip(x, y, strict=True):
            fast.adapt(F.cross_entropy(fast(encoder(step_x)), step_y))
        losses.append(F.cross_entropy(fast(encoder(qx)), qy))
    return losses


PEERS = {"higher": by_higher, "learn2learn": by_learn2learn}


def _of_tasks(episode: Episode) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return episode.support_x, episode.support_y, episode.query_x, episode.query_y


def oml(kind: str, dtype: torch.dtype, second_order: bool) -> tuple[OnlineLearner, Episode]:
    """A representation and a prediction part; all weights meta-learned, the rate is not.

    The norm has no scale of its own: here it would be frozen in a lifetime, while the peers, to
    whom every parameter is alike, would let it learn. Six steps, but for convolutions in float32
    four of half the size: after six, the peers themselves are up to 1.2e-6 from float64.
    """
    gentle = kind == "convolutional" and dtype == torch.float32
    steps, rate = (4, RATE / 2) if gentle else (6, RATE)
    rule = LearningRule(
        Backprop(second_order=second_order), Delta(rate=rate, per="shared", learn=False)
    )
    if kind == "dense":
        encoder, network, shape = nn.Sequential(nn.Linear(4, 6), nn.ReLU()), dense(6, 5, 3), (4,)
    else:
        encoder = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU())
        network = nn.Sequential(
            nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.GroupNorm(1, 3, affine=False), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3),
        )  # fmt: skip
        shape = (1, 7, 7)
    made = learner(network, rule, encoder=encoder, dtype=dtype, jitter=False)
    return made, episodes(outputs=3, shape=shape, tasks=3, steps=steps, batch=2, dtype=dtype)


def meta_gradient_of(losses: list[Tensor], made: OnlineLearner) -> dict[str, Tensor]:
    leaves = learned(made)
    found = torch.autograd.grad(torch.stack(losses).mean(), list(leaves.values()))
    return dict(zip(leaves, found, strict=True))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("kind", ["dense", "convolutional"])
@pytest.mark.parametrize("second_order", [True, False], ids=["second order", "first order"])
@pytest.mark.parametrize("library", PEERS)
def test_omls_meta_gradient_is_the_peers(
    library: str, second_order: bool, kind: str, dtype: torch.dtype
) -> None:
    made, episode = oml(kind, dtype, second_order)
    losses = PEERS[library](made, episode, second_order)
    theirs = meta_gradient_of(losses, made)
    meta = made(episode)
    ours = dict(
        zip(
            learned(made), torch.autograd.grad(meta.loss, list(learned(made).values())), strict=True
        )
    )
    assert apart({"": meta.per_task}, {"": torch.stack(losses).detach()}) < TOLERANCE[dtype]
    assert apart(ours, theirs) < TOLERANCE[dtype]


@pytest.mark.parametrize("kind", ["dense", "convolutional"])
def test_first_order_is_another_gradient(kind: str) -> None:
    found = []
    for second_order in (True, False):
        torch.manual_seed(0)
        made, episode = oml(kind, torch.float64, second_order)
        losses = by_learn2learn(made, episode, second_order)
        found.append(meta_gradient_of(losses, made))
        made(episode).loss.backward()
        ours = {name: p.grad for name, p in learned(made).items() if p.grad is not None}
        assert apart(ours, found[-1]) < 1e-12
    assert apart(found[1], found[0]) > 1e-2  # not a rounding error: a bias
