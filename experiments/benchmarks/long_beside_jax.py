"""Nine thousand steps of `long_lifetime`, ours against JAX: with a meta-gradient and without.

With it, JAX scans over segments of 100 steps, which it runs again backwards. The readout that is
clamped to the label is written for it in two ways: by the rule, and by the one row that a step
changes. Without it, a piece of 300 steps goes on from the weights of the last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from experiments.benchmarks import Finding
from experiments.benchmarks.jax_peer import JaxPeer
from experiments.benchmarks.long_lifetime import (
    BLOCKS,
    FEATURES,
    PIECE,
    READINGS,
    made,
    streaming,
    work,
)
from experiments.benchmarks.measure import copy_bandwidth
from experiments.benchmarks.peers import (
    Limit,
    beside_peers,
    closing,
    cost,
    costs,
    limit,
    not_measured,
)
from experiments.lab.reference_libraries import PeerMissingError
from metaplastic import OnlineLearner, Unroll

SEGMENT, CHECKED = 100, 5
COMPILE = {"eager": False, "compiled": True}
# How JAX runs each lifetime: a peer's name and its function in `in_jax.lifetimes`.
IN_JAX = {
    "clamped to the label": {"jax": "label", "jax, by the label's row": "row"},
    "by the delta rule": {"jax": "delta"},
    "a readout of 600 classes": {"jax": "label", "jax, by the label's row": "row"},
    "a driven 256x256 site": {"jax": "driven"},
}
PATHWAY = "rule.pathway.pathways.0.0"
DRIVEN = {
    "feedback": f"{PATHWAY}.weight", "offset": f"{PATHWAY}.bias",
    "strength": "rule.pathway.strengths.0",
}  # fmt: skip


def named(learner: OnlineLearner) -> dict[str, Tensor]:
    """What is learned, by the names that JAX is given."""
    (rate,) = learner.rule.plasticity.parameters()
    found: dict[str, Tensor] = {"weight": learner.get_parameter("network.0.weight"), "rate": rate}
    if PATHWAY in dict(learner.named_modules()):
        found |= {ours: learner.get_parameter(name) for ours, name in DRIVEN.items()}
    return found


def part(name: str) -> dict[str, float]:
    """The memory and the compilation of one of ours, `CASE|WAY`."""
    case, way = name.split("|")
    if case in BLOCKS:
        return cost(lambda: work(*made(case, False, COMPILE[way])))
    return cost(lambda: piece_by_piece(streaming(case, Unroll(compile=COMPILE[way])), *piece(case)))


def piece(case: str) -> tuple[Tensor, Tensor]:
    """Inputs `300 256` and labels `300`."""
    torch.manual_seed(0)
    return torch.rand(PIECE, FEATURES) / FEATURES**0.5, torch.arange(PIECE) % READINGS[case][0]


def piece_by_piece(learner: OnlineLearner, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    """300 steps a call, on from the weights of the last; the weights after them."""
    x, y = x[None, :, None], y[None, :, None]
    weights = learner.initialize(y, torch.zeros(1, dtype=torch.long))

    @torch.no_grad()
    def once() -> Tensor:
        nonlocal weights
        weights = learner.adapt(x, y, weights)
        return weights["0.weight"][0]

    return once


def measure(repeat: int, seed: int) -> list[Finding]:
    found = [with_gradient(case, repeat) for case in BLOCKS]
    return [*found, *(without(case, repeat) for case in READINGS)]


def with_gradient(case: str, repeat: int) -> Finding:
    """9,000 steps of a readout and their meta-gradient."""
    learner, data = made(case, False)
    ways = {way: work(*made(case, False, compile)) for way, compile in COMPILE.items()}
    # Ours in blocks is faster than copying the weights in every step: its own products limit it.
    given = 4e-6 * data["x"].numel()
    least = limit(ways["eager"], (1, 128, FEATURES, 600), 3 * given, given)

    def same(peer: JaxPeer) -> None:
        peer.require_same(dict(zip(own, ways["eager"](), strict=True)))

    own = named(learner)
    start = readout_in_jax(data, own)
    what = f"9,000 steps and their meta-gradient, a readout of 600 classes {case}"
    return beside(what, case, ways, start, same, least, min(repeat, 3), calls=1)


def readout_in_jax(data: dict[str, Tensor], own: dict[str, Tensor]) -> Callable[..., JaxPeer]:
    """What starts JAX on these lifetimes `by` one of its ways."""
    given = {name: data[name] for name in ("query_x", "query_y")}
    given |= {name: data[name][:, :, 0] for name in ("x", "y")}
    return partial(JaxPeer, "readout", given, own, segment=SEGMENT)


def without(case: str, repeat: int) -> Finding:
    """A piece of a lifetime without a meta-gradient."""
    x, y = piece(case)
    learners = {way: streaming(case, Unroll(compile=how)) for way, how in COMPILE.items()}
    for other in learners.values():
        other.load_state_dict(learners["eager"].state_dict())
    own = named(learners["eager"])

    def same(peer: JaxPeer) -> None:
        once = piece_by_piece(learners["eager"], x, y)
        peer.require_same({"weight": [once() for _ in range(CHECKED)][-1]})

    ways = {way: piece_by_piece(each, x, y) for way, each in learners.items()}
    start = partial(JaxPeer, "stream", {"x": x, "y": y}, own, calls=CHECKED)
    synapses = own["weight"].numel()
    least = Limit(0.0, PIECE * 8 * synapses / copy_bandwidth(4e-6 * synapses))
    what = f"300 of 9,000 steps without a meta-gradient, {case}"
    return beside(what, case, ways, start, same, least, repeat, calls=5)


def beside(
    what: str,
    case: str,
    ways: Mapping[str, Callable[[], object]],
    start: Callable[..., JaxPeer],
    same: Callable[[JaxPeer], None],
    least: Limit,
    repeat: int,
    calls: int,
) -> Finding:
    """Ours beside JAX's, each of which was found to be the same."""
    threads, peers = torch.get_num_threads(), {}
    try:
        for name, by in IN_JAX[case].items():
            peers[name] = start(threads=threads, by=by)
            same(peers[name])
    except PeerMissingError as reason:
        closing(peers)
        return not_measured(f"{what}: jax / ours", reason)
    spent = costs("long_beside_jax", [f"{case}|{way}" for way in COMPILE], threads, "cpu")
    spent_on = {way: spent[f"{case}|{way}"] for way in COMPILE}
    found = beside_peers(what, ways, peers, spent_on, least, repeat, calls)
    closing(peers)
    return found
