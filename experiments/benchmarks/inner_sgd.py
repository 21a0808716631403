"""Second-order SGD inside: `higher`, learn2learn and JAX against ours, eager and compiled.

16 tasks x 5 inner steps of plain SGD, batches of 8, one step of the outer gradient. All rivals
compute the same meta-gradient, which is checked before the clock starts; the two libraries loop
over tasks, which is how they are used.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.benchmarks import Finding
from experiments.benchmarks.jax_peer import JaxPeer
from experiments.benchmarks.measure import interleaved, versus
from experiments.benchmarks.peers import (
    beside_peers,
    closing,
    cost,
    costs,
    limit,
    not_measured,
)
from experiments.lab.reference_libraries import PeerMissingError, peer
from metaplastic import Backprop, CrossEntropy, Delta, Episode, LearningRule, OnlineLearner, Unroll

TASKS, STEPS, BATCH, QUERIES, RATE = 16, 5, 8, 16, 0.1
GOALS = {
    (64, 256, 8): {"higher": 3.0, "learn2learn": 2.5},
    (8, 32, 4): {"higher": 12.0, "learn2learn": 9.0},
}
Gradient = Callable[[], list[Tensor]]


def lifetimes(inputs: int, classes: int) -> Episode:
    x, y = torch.randn(TASKS, STEPS, BATCH, inputs), torch.randint(classes, (TASKS, STEPS, BATCH))
    query_x, query_y = torch.randn(TASKS, QUERIES, inputs), torch.randint(classes, (TASKS, QUERIES))
    return Episode(x, y, y, query_x, query_y, query_y, torch.arange(TASKS))


def by_higher(network: nn.Module, episodes: Episode) -> Gradient:
    higher, parameters = peer("higher"), list(network.parameters())

    def meta_gradient() -> list[Tensor]:
        losses = []
        for task in range(TASKS):
            inner = torch.optim.SGD(parameters, lr=RATE)
            with higher.innerloop_ctx(network, inner, copy_initial_weights=False) as (fast, steps):
                for x, y in zip(episodes.support_x[task], episodes.support_y[task], strict=True):
                    steps.step(F.cross_entropy(fast(x), y))
                losses.append(F.cross_entropy(fast(episodes.query_x[task]), episodes.query_y[task]))
        return list(torch.autograd.grad(torch.stack(losses).mean(), parameters))

    return meta_gradient


def by_learn2learn(network: nn.Module, episodes: Episode) -> Gradient:
    maml, parameters = peer("learn2learn")(network, lr=RATE), list(network.parameters())

    def meta_gradient() -> list[Tensor]:
        losses = []
        for task in range(TASKS):
            fast = maml.clone()
            for x, y in zip(episodes.support_x[task], episodes.support_y[task], strict=True):
                fast.adapt(F.cross_entropy(fast(x), y))
            losses.append(F.cross_entropy(fast(episodes.query_x[task]), episodes.query_y[task]))
        return list(torch.autograd.grad(torch.stack(losses).mean(), parameters))

    return meta_gradient


def by_us(network: nn.Sequential, episodes: Episode, classes: int, how: Unroll) -> Gradient:
    rule = LearningRule(Backprop(), Delta(rate=RATE, per="shared", learn=False))
    learner = OnlineLearner(network, rule, CrossEntropy(classes), unroll=how)
    parameters = list(network.parameters())
    return lambda: list(torch.autograd.grad(learner(episodes).loss, parameters))


def by_jax(network: nn.Sequential, episodes: Episode, device: str) -> JaxPeer:
    """The same in JAX, whose meta-gradient was found to be that of plain autograd."""
    data = {"x": episodes.support_x, "y": episodes.support_y}
    data |= {"query_x": episodes.query_x, "query_y": episodes.query_y}
    named = dict(network.named_parameters())
    threads = torch.get_num_threads()
    return JaxPeer("inner_sgd", data, named, device=device, threads=threads, rate=RATE)


PEERS = {"higher": by_higher, "learn2learn": by_learn2learn}


def network_of(sizes: tuple[int, ...]) -> nn.Sequential:
    inputs, hidden, classes = sizes
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def part(name: str, device: str) -> dict[str, float]:
    """The memory and the compilation of one of ours, `SIZES eager` or `SIZES compiled`."""
    words, how = name.split()
    sizes = tuple(map(int, words.split("-")))
    episodes, network = lifetimes(sizes[0], sizes[-1]).to(device), network_of(sizes).to(device)
    return cost(lambda: by_us(network, episodes, sizes[-1], Unroll(compile=how == "compiled")))


def measure(repeat: int, seed: int, device: str = "cpu") -> list[Finding]:
    findings = []
    for sizes, goals in GOALS.items():
        inputs, _, classes = sizes
        network = network_of(sizes).to(device)
        episodes = lifetimes(inputs, classes).to(device)
        name = "-".join(map(str, sizes))
        what = f"16 tasks x 5 SGD steps, {name}"
        candidates: dict[str, Gradient] = {}
        for library, made in PEERS.items():
            try:
                candidates[library] = made(network, episodes)
            except PeerMissingError as reason:
                findings.append(not_measured(f"{what}: {library} / ours", reason))
        here = list(candidates)
        candidates["ours"] = by_us(network, episodes, classes, Unroll())
        candidates["ours, compiled"] = by_us(network, episodes, classes, Unroll(compile=True))
        reference, *others = (work() for work in candidates.values())
        for other in others:
            torch.testing.assert_close(other, reference, rtol=1e-4, atol=1e-6)
        times = interleaved(candidates, repeat)
        for us in ("ours", "ours, compiled"):
            findings += [versus(what, times, each, us, goals[each]) for each in here]
        findings += beside(what, name, network, episodes, candidates, repeat, device)
    return findings


def beside(
    what: str,
    name: str,
    network: nn.Sequential,
    episodes: Episode,
    candidates: dict[str, Gradient],
    repeat: int,
    device: str,
) -> list[Finding]:
    """Ours, eager and compiled, beside all peers."""
    ways = {"eager": candidates["ours"], "compiled": candidates["ours, compiled"]}
    peers: dict[str, Callable[[], object]] = {
        library: candidates[library] for library in PEERS if library in candidates
    }
    found = []
    try:
        jax = by_jax(network, episodes, device)
        jax.require_same(dict(zip(dict(network.named_parameters()), ways["eager"](), strict=True)))
        peers["jax"] = jax
    except PeerMissingError as reason:
        found.append(not_measured(f"{what}: jax / ours", reason))
    if not peers:
        return found
    names = {way: f"{name} {way}" for way in ways}
    spent = costs("inner_sgd", list(names.values()), torch.get_num_threads(), device)
    inputs, hidden, _ = map(int, name.split("-"))
    weights = 4e-6 * TASKS * sum(parameter.numel() for parameter in network.parameters())
    least = limit(ways["eager"], (TASKS, BATCH, inputs, hidden), 4 * STEPS * weights, weights)
    spent_on = {way: spent[part] for way, part in names.items()}
    found.append(beside_peers(what, ways, peers, spent_on, least, repeat, calls=20))
    closing(peers)
    return found
