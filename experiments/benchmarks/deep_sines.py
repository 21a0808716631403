"""The published sine net at full length: nine plastic layers, 400 steps, one meta-gradient.

11-300-300-300-300-300-900-300-300-1, every layer plastic by Oja's rule with a rate per synapse,
taught the error; 10 functions x 40 steps x 32 points, one lifetime. Keeping every step would hold
400 sets of a million weights, 1.6 GB; what memory allows is kept and the first steps run twice.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import torch
from torch import nn

from experiments.benchmarks import Finding, of_threads
from experiments.benchmarks.jax_peer import JaxPeer
from experiments.benchmarks.measure import copy_bandwidth, seconds
from experiments.benchmarks.memory import peak_mb
from experiments.benchmarks.peers import Limit, beside_peers, cost, costs, not_measured
from experiments.lab.reference_libraries import PeerMissingError
from metaplastic import (
    Direct,
    Episode,
    LearningRule,
    MeanSquaredError,
    Oja,
    OnlineLearner,
    Unroll,
)
from tasks.sines import Sines

WIDTHS = (11, 300, 300, 300, 300, 300, 900, 300, 300, 1)
SECONDS, MEGABYTES, SEGMENT = 3.0, 2000.0, 300
CHECKED = 25  # steps
# Per step: forward and outer product; forward once more in the compiled backward pass, which keeps
# no activity; two for each of the two in the backward pass. The first quarter: the first two again.
PRODUCTS = 7.5
WAYS = {
    "eager": Unroll(checkpoint_every=20),
    "compiled": Unroll(checkpoint_every=SEGMENT, compile=True),
}


def learner(how: Unroll, device: str) -> OnlineLearner:
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(WIDTHS):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    rule = LearningRule(Direct(teaching="error", readout="feedback"), Oja(rate=1e-7))
    network = nn.Sequential(*layers[:-1])
    return OnlineLearner(network, rule, MeanSquaredError(1), unroll=how).to(device)


def multiplications_a_second(device: str) -> float:
    """Of the matrix products that the lifetime is made of, on the threads it may use."""
    batch, weight = torch.rand(1, 32, 300, device=device), torch.rand(1, 300, 300, device=device)
    best = min(seconds(lambda: torch.bmm(batch, weight), calls=50) for _ in range(20))
    return 32 * 300 * 300 / best


def work(made: OnlineLearner, episode: Episode) -> Callable[[], None]:
    def meta_gradient() -> None:
        made.zero_grad()
        made(episode).loss.backward()

    return meta_gradient


def part(name: str, device: str) -> dict[str, float]:
    """The memory and the compilation of one of ours, `eager` or `compiled`."""
    episode = Sines().sample(1, torch.Generator().manual_seed(0)).to(device)
    return cost(lambda: work(learner(WAYS[name], device), episode))


def by_jax(made: OnlineLearner, episode: Episode, device: str, double: bool = False) -> JaxPeer:
    """The same lifetime in JAX."""
    data = {"x": episode.support_x, "y": episode.support_y}
    data |= {"query_x": episode.query_x, "query_y": episode.query_y}
    named = {theirs: made.get_parameter(name) for theirs, name in names_of(made).items()}
    segment = math.isqrt(episode.support_x.shape[1])
    return JaxPeer(
        "deep_sines", data, named, device=device, threads=torch.get_num_threads(), double=double,
        layers=len(WIDTHS) - 1, segment=segment,
    )  # fmt: skip


def names_of(made: OnlineLearner) -> dict[str, str]:
    """The parameters, by the names that JAX is given for them."""
    found: dict[str, str] = {}
    for layer, name in enumerate(site.name for site in made.sites):
        pathway = f"rule.pathway.pathways.{name}.0"
        found |= {
            f"weight {layer}": f"network.{name}.weight", f"bias {layer}": f"network.{name}.bias",
            f"rate {layer}": f"rule.plasticity.rates.{name}",
            f"feedback {layer}": f"{pathway}.weight", f"offset {layer}": f"{pathway}.bias",
            f"strength {layer}": f"rule.pathway.strengths.{name}",
        }  # fmt: skip
    return found


def require_same(made: OnlineLearner, episode: Episode, device: str) -> None:
    """Raise RuntimeError unless JAX has our meta-gradient, on the first steps of the lifetime.

    In float64, because what 400 steps of nine layers make of rounding is above 1e-5.
    """
    first, double = slice(None, CHECKED), copy.deepcopy(made).double()
    short = episode._replace(
        support_x=episode.support_x[:, first], support_y=episode.support_y[:, first],
        support_subtask=episode.support_subtask[:, first],
    ).to(device, torch.float64)  # fmt: skip
    names = names_of(made)
    wide = [double.get_parameter(name) for name in names.values()]
    gradients = torch.autograd.grad(double(short).loss, wide)
    with by_jax(double, short, device, double=True) as peer:
        peer.require_same(dict(zip(names, gradients, strict=True)))


def measure(repeat: int, seed: int, device: str = "cpu") -> list[Finding]:
    stream = Sines()
    made = {way: learner(how, device) for way, how in WAYS.items()}
    for other in made.values():
        other.load_state_dict(made["compiled"].state_dict())
    episode = stream.sample(1, torch.Generator().manual_seed(seed)).to(device)
    synapses = sum(fan_in * fan_out for fan_in, fan_out in pairwise(WIDTHS))
    products = PRODUCTS * stream.spec.steps * stream.spec.batch * synapses
    bound = products / multiplications_a_second(device)
    ways = {way: work(each, episode) for way, each in made.items()}
    meta_gradient = ways["compiled"]
    first = seconds(meta_gradient)
    times = [seconds(meta_gradient) for _ in range(repeat)]
    spent, peak, on = median(times), peak_mb(), of_threads(torch.get_num_threads())
    found = [
        Finding(
            what=f"nine-layer sine net, 400 steps of 32, seconds a lifetime on {on}",
            result=f"{spent:.2f} s ({min(times):.2f} to {max(times):.2f}); "
            f"its matrix products alone {bound:.2f} s; compilation {first - spent:.0f} s, once",
            goal=f"at most {SECONDS:g} s",
            met=spent <= SECONDS,
            peak_mb=peak,
            detail={"seconds": spent, "bound_s": bound, "compile_s": first - spent},
        ),
        Finding(
            what="nine-layer sine net, peak memory",
            result=f"{peak:.0f} MB",
            goal=f"at most {MEGABYTES:g} MB",
            met=peak <= MEGABYTES,
            peak_mb=peak,
        ),
    ]
    what = "nine-layer sine net, 400 steps of 32"
    try:
        require_same(made["eager"], episode, device)
        peer = by_jax(made["eager"], episode, device)
    except PeerMissingError as reason:
        return [*found, not_measured(f"{what}: jax / ours", reason)]
    with peer:
        moved = 4e-6 * 4 * stream.spec.steps * synapses
        least = Limit(bound, 1e6 * moved / copy_bandwidth(4e-6 * synapses))
        spent_on = costs("deep_sines", list(WAYS), torch.get_num_threads(), device)
        rounds = min(repeat, 3)  # of seconds each
        found.append(beside_peers(what, ways, {"jax": peer}, spent_on, least, rounds, calls=1))
    return found
