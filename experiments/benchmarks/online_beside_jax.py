"""One online step by a rule, ours against JAX: the same networks, minibatches and feedback.

Feedback alignment and Kolen-Pollack in the networks of `one_online_example`. Before the clock
starts, the change of all parameters in five steps is compared, in float64: in float32 what a step
changes is not much above the rounding of a weight.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.benchmarks import Finding
from experiments.benchmarks.jax_peer import JaxPeer
from experiments.benchmarks.one_online_example import NETWORKS, WAYS
from experiments.benchmarks.peers import beside_peers, closing, cost, costs, limit, not_measured
from experiments.lab.reference_libraries import PeerMissingError
from metaplastic import PlasticModule

# How often a step reads or writes all weights, at the least: W forward, B back, W updated; B too.
MOVES = {"feedback_alignment": 4, "kolen_pollack": 5}
OURS = dict(zip(("eager", "compiled", "inductor"), WAYS.values(), strict=True))
IN_JAX = dict(zip(NETWORKS, ("perceptron", "residual", "transformer"), strict=True))
# A product that most of a step is: rows of a minibatch of 1, inner, columns.
SHAPES = dict(zip(NETWORKS, ((1, 784, 256), (1024, 144, 16), (49, 64, 256)), strict=True))
BATCHES, RATE, DECAY, STEPS, CHECKED_RATE = (1, 64), 1e-4, 1e-3, 5, 1e-2


def made(
    network: str, batch: int, rule: str, way: str = "eager", rate: float = RATE, kind: Any = None
) -> tuple[PlasticModule, Tensor, Tensor]:
    """A module that learns, and its minibatch; the same for the same seed of torch."""
    torch.manual_seed(0)
    make, shape = NETWORKS[network]
    x, y = torch.randn(batch, *shape), torch.randint(10, (batch,))
    x, model = x.to(kind or x.dtype), make().to(kind or x.dtype)
    return PlasticModule(model, rule, example=x, rate=rate, compile=OURS[way]), x, y


def work(net: PlasticModule, x: Tensor, y: Tensor) -> Callable[[], float]:
    def step() -> float:
        net(x)
        return net.learn(y).item()

    return step


def by_jax(
    net: PlasticModule, x: Tensor, y: Tensor, network: str, rule: str, rate: float
) -> JaxPeer:
    """The same steps in JAX, from where the module is now."""
    held = net.credit.held
    data = {"x": x, "y": y, **dict(net.model.named_buffers())}
    data |= {f"feedback {site}": held.of(site) for site in held.names}
    return JaxPeer(
        "online", data, dict(net.model.named_parameters()), threads=torch.get_num_threads(),
        double=x.dtype == torch.float64, calls=STEPS, network=IN_JAX[network], rule=rule, rate=rate,
        decay=DECAY,
    )  # fmt: skip


def require_same(network: str, batch: int, rule: str) -> None:
    """Raise RuntimeError unless five steps change every parameter as they do in JAX."""
    net, x, y = made(network, batch, rule, rate=CHECKED_RATE, kind=torch.float64)
    start = {name: p.detach().clone() for name, p in net.model.named_parameters()}
    with by_jax(net, x, y, network, rule, CHECKED_RATE) as peer:
        step = work(net, x, y)
        for _ in range(STEPS):
            step()
        peer.found = {name: found - start[name] for name, found in peer.found.items()}
        peer.require_same({n: p.detach() - start[n] for n, p in net.model.named_parameters()})


def part(name: str) -> dict[str, float]:
    """The memory and the compilation of one of ours, `NETWORK|BATCH|RULE|WAY`."""
    network, batch, rule, way = name.split("|")
    return cost(lambda: quietly(work(*made(network, int(batch), rule, way))))


def quietly(step: Callable[[], float]) -> Callable[[], float]:
    """The same after a first call, which may warn of a program too long for machine code."""

    def once() -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return step()

    return once


def plain(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    """The products of a step, which are those of backpropagation."""
    return lambda: F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]


def measure(repeat: int, seed: int) -> list[Finding]:
    found = []
    for network in NETWORKS:
        for batch in BATCHES:
            for rule in MOVES:
                found.append(beside(network, batch, rule, repeat))
    return found


def beside(network: str, batch: int, rule: str, repeat: int) -> Finding:
    """Ours, as it is and compiled, beside JAX."""
    what = f"one online step, {network}, batch {batch}, {rule}"
    try:
        require_same(network, batch, rule)
        net, x, y = made(network, batch, rule)
        peers = {"jax": by_jax(net, x, y, network, rule, RATE)}
    except PeerMissingError as reason:
        return not_measured(f"{what}: jax / ours", reason)
    ways = {way: quietly(work(*made(network, batch, rule, way))) for way in OURS}
    names = {way: f"{network}|{batch}|{rule}|{way}" for way in OURS}
    spent = costs("online_beside_jax", list(names.values()), torch.get_num_threads(), "cpu")
    weights = 4e-6 * sum(p.numel() for p in net.model.parameters())
    rows, inner, columns = SHAPES[network]
    products = plain(copy.deepcopy(net.model), x, y)
    least = limit(products, (1, batch * rows, inner, columns), MOVES[rule] * weights, weights)
    spent_on = {way: spent[name] for way, name in names.items()}
    found = beside_peers(what, ways, peers, spent_on, least, max(repeat, 5), calls=20 // batch + 4)
    closing(peers)
    return found
