"""An encoder that is run once and the meta-gradient of a lifetime after it: ours against JAX.

The lifetime of `encoder_once`, by our schedule in both: all images through the frozen layers at
once, the steps of the two plastic ones, the meta-gradient in all weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from experiments.benchmarks import Finding
from experiments.benchmarks.encoder_once import (
    HIDDEN_MULTIPLIER,
    OUTPUTS,
    STEPS,
    STRIDES,
    learner,
    lifetime,
    once,
)
from experiments.benchmarks.jax_peer import JaxPeer
from experiments.benchmarks.peers import beside_peers, cost, costs, limit, not_measured
from experiments.lab.reference_libraries import PeerMissingError
from metaplastic import Episode, OnlineLearner, Unroll

HOW = {"eager": Unroll(), "compiled": Unroll(compile=True)}


def part(name: str) -> dict[str, float]:
    """The memory and the compilation of one of ours, `eager` or `compiled`."""
    made = learner()
    made.unroll = HOW[name]
    return cost(lambda: work(made, lifetime()))


def work(made: OnlineLearner, episode: Episode) -> Callable[[], dict[str, Tensor]]:
    """The meta-gradient by our schedule, by the names that JAX is given."""
    names = names_of(made)
    parameters = [made.get_parameter(name) for name in names.values()]

    def meta_gradient() -> dict[str, Tensor]:
        slopes = torch.autograd.grad(once(episode, made), parameters)
        return dict(zip(names, slopes, strict=True))

    return meta_gradient


def names_of(made: OnlineLearner) -> dict[str, str]:
    """The learned parameters, by the names that JAX is given for them."""
    found: dict[str, str] = {}
    for layer in range(len(STRIDES)):
        found |= {f"kernel {layer}": f"network.{2 * layer}.weight"}
        found |= {f"bias {layer}": f"network.{2 * layer}.bias"}
    pathway, rates = "rule.pathway.pathways.13.0", "rule.plasticity.rates"
    return {
        **found, "hidden": "network.13.weight", "hidden bias": "network.13.bias",
        "readout": "network.15.weight", "readout bias": "network.15.bias",
        "feedback": f"{pathway}.weight", "offset": f"{pathway}.bias",
        "hidden rate": f"{rates}.13", "readout rate": f"{rates}.15",
    }  # fmt: skip


def by_jax(made: OnlineLearner, episode: Episode) -> JaxPeer:
    """Our schedule in JAX."""
    data = {"x": episode.support_x[:, :, 0], "y": episode.support_y[:, :, 0]}
    data |= {"query_x": episode.query_x, "query_y": episode.query_y}
    named = {theirs: made.get_parameter(name) for theirs, name in names_of(made).items()}
    return JaxPeer(
        "encoder_once", data, named, threads=torch.get_num_threads(), strides=STRIDES,
        hidden_multiplier=HIDDEN_MULTIPLIER, double=episode.support_x.dtype == torch.float64,
    )  # fmt: skip


def require_same(made: OnlineLearner, episode: Episode) -> None:
    """Raise RuntimeError unless JAX has our meta-gradient.

    In float64, because sums over 20 thousand positions of a kernel round by more than 1e-5.
    """
    wide, double = episode.to("cpu", torch.float64), copy.deepcopy(made).double()
    with by_jax(double, wide) as peer:
        peer.require_same(work(double, wide)())


def measure(repeat: int, seed: int) -> list[Finding]:
    """Ours, eager and compiled, beside JAX."""
    what, episode = "84x84, 128 channels, 5-way 5-shot", lifetime()
    made = {way: learner() for way in HOW}
    for way, other in made.items():
        other.load_state_dict(made["eager"].state_dict())
        other.unroll = HOW[way]
    try:
        require_same(made["eager"], episode)
        peer = by_jax(made["eager"], episode)
    except PeerMissingError as reason:
        return [not_measured(f"{what}: jax / ours", reason)]
    with peer:
        ways = {way: work(each, episode) for way, each in made.items()}
        spent_on = costs("encoder_beside_jax", list(HOW), torch.get_num_threads(), "cpu")
        weights = 4e-6 * (1152 * 128 + 128 * OUTPUTS)
        shape = (1, STEPS * 19 * 19, 9 * 128, 128)  # of a convolution
        least = limit(ways["eager"], shape, 4 * STEPS * weights, weights)
        rounds = min(repeat, 3)  # of seconds each
        return [beside_peers(what, ways, {"jax": peer}, spent_on, least, rounds, calls=1)]
