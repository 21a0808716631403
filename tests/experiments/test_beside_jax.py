"""The same work in JAX gives the same numbers: every row that is measured beside it, in small."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import pytest
import torch

from experiments.benchmarks import (
    deep_sines,
    encoder_beside_jax,
    encoder_once,
    inner_sgd,
    jax_peer,
    long_beside_jax,
    long_lifetime,
    online_beside_jax,
    plastic_head,
    residual,
)
from experiments.benchmarks.jax_peer import JaxPeer
from experiments.lab.reference_libraries import PeerMissingError
from metaplastic import Unroll
from tasks.sines import Sines

pytestmark = pytest.mark.peer


@pytest.fixture
def jax() -> None:
    """Skip where JAX is missing, or fail where the peers are asked for."""
    if importlib.util.find_spec("jax") is None:
        if "METAPLASTIC_NEED_PEERS" in os.environ:
            pytest.fail("jax is not installed, and METAPLASTIC_NEED_PEERS asks for it")
        pytest.skip("jax is not installed")


def small(patch: pytest.MonkeyPatch, row: Any, **sizes: Any) -> None:
    torch.manual_seed(0)
    for name, size in sizes.items():
        patch.setattr(row, name, size)


@pytest.mark.usefixtures("jax")
@pytest.mark.parametrize("case", plastic_head.CASES)
def test_a_plastic_head(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, plastic_head, TASKS=2, STEPS=3, UNITS=6, QUERIES=4, RATE=0.1)
    episodes, learner = plastic_head.lifetimes(), plastic_head.made(case, "cpu")
    plastic_head.by_jax(episodes, learner, case, "cpu").close()  # compares before it returns


@pytest.mark.usefixtures("jax")
def test_second_order_sgd(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, inner_sgd, TASKS=2, STEPS=3, BATCH=4, QUERIES=5)
    network, episodes = inner_sgd.network_of((5, 7, 3)), inner_sgd.lifetimes(5, 3)
    ours = inner_sgd.by_us(network, episodes, 3, Unroll())()
    named = dict(zip(dict(network.named_parameters()), ours, strict=True))
    with inner_sgd.by_jax(network, episodes, "cpu") as peer:
        peer.require_same(named)
        with pytest.raises(RuntimeError, match=r"in 0.bias differs from JAX's by"):
            peer.require_same({**named, "0.bias": 1.001 * named["0.bias"]})


@pytest.mark.usefixtures("jax")
def test_a_deep_sine_net(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, deep_sines, WIDTHS=(11, 6, 5, 1), CHECKED=9)
    made = deep_sines.learner(Unroll(checkpoint_every=2), "cpu")
    with torch.no_grad():  # a rate at which little is learned would show little
        for name, rate in made.named_parameters():
            if "rates" in name:
                rate.fill_(1e-2)
    episode = Sines().sample(1, torch.Generator().manual_seed(0))
    deep_sines.require_same(made, episode, "cpu")


@pytest.mark.usefixtures("jax")
@pytest.mark.slow  # its network is of one size
def test_an_encoder_that_is_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, encoder_once, STEPS=2, QUERIES=2)
    encoder_beside_jax.require_same(encoder_once.learner(), encoder_once.lifetime())


@pytest.mark.usefixtures("jax")
@pytest.mark.parametrize(
    "in_turn", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["side by side", "in turn"]
)
def test_following_feedback_in_a_residual_network(
    in_turn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch, residual, TASKS=2, STEPS=3, BATCH=2, QUERIES=3)
    made, episodes = residual.learner(channels=8, side=5), residual.lifetimes(side=5)
    made, episodes = made.double(), episodes.to("cpu", torch.float64)
    with residual.by_jax(made, episodes, in_turn=in_turn, double=True) as peer:
        peer.require_same(residual.work(made, episodes)())


LONG = [(case, by) for case in long_lifetime.BLOCKS for by in long_beside_jax.IN_JAX[case].values()]


@pytest.mark.usefixtures("jax")
@pytest.mark.parametrize(("case", "by"), LONG)
def test_a_long_lifetime_of_a_readout(case: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, long_lifetime, STEPS=900)  # every class, and half of them twice
    learner, data = long_lifetime.made(case, loop=False)
    own = long_beside_jax.named(learner)
    ours = dict(zip(own, long_lifetime.work(learner, data)(), strict=True))
    with long_beside_jax.readout_in_jax(data, own)(by=by) as peer:
        peer.require_same(ours)


@pytest.mark.usefixtures("jax")
@pytest.mark.parametrize("case", long_lifetime.READINGS)
def test_a_long_lifetime_without_a_meta_gradient(case: str) -> None:
    learner = long_lifetime.streaming(case, Unroll())
    own, (x, y) = long_beside_jax.named(learner), long_beside_jax.piece(case)
    once = long_beside_jax.piece_by_piece(learner, x, y)
    after = [once() for _ in range(3)][-1]
    for by in long_beside_jax.IN_JAX[case].values():
        with JaxPeer("stream", {"x": x, "y": y}, own, calls=3, by=by) as peer:
            peer.require_same({"weight": after})


NETWORKS = [
    pytest.param(name, marks=pytest.mark.slow if name == "ResNet-20" else ())
    for name in online_beside_jax.NETWORKS
]


@pytest.mark.usefixtures("jax")
@pytest.mark.parametrize("rule", online_beside_jax.MOVES)
@pytest.mark.parametrize("network", NETWORKS)
def test_five_online_steps(network: str, rule: str) -> None:
    online_beside_jax.require_same(network, 2, rule)


@pytest.mark.usefixtures("jax")
def test_what_stops_jax_is_said_in_one_line() -> None:
    given = {"x": torch.zeros(2, 3), "y": torch.zeros(2, dtype=torch.long)}
    with pytest.raises(PeerMissingError, match=r"^jax stopped: KeyError: 'none'$"):
        JaxPeer("stream", given, {"weight": torch.zeros(2, 3)}, by="none")


def test_a_row_without_jax_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax_peer.importlib.util, "find_spec", lambda name: None)
    small(monkeypatch, residual, TASKS=2, STEPS=2, BATCH=2, QUERIES=2)
    made, episodes = residual.learner(channels=8, side=5), residual.lifetimes(side=5)
    monkeypatch.setattr(residual, "learner", lambda how=None: made)
    monkeypatch.setattr(residual, "lifetimes", lambda: episodes)
    (found,) = residual.measure(1, 0)
    assert found.result == "not measured: jax is not installed: pip install jax"
