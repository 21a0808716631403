"""Following feedback in a residual network: Kolen-Pollack, ours against JAX.

Three convolutions of 16 channels with GroupNorm, two of them beside a skip, and a readout, on
images of 3 x 16 x 16. 4 tasks x 5 steps of 8 images and 16 queries; the meta-gradient in first
weights, norms and first feedback weights. JAX takes its tasks side by side or in turn: with a
weight for each task, convolutions side by side are grouped ones.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from experiments.benchmarks import Finding
from experiments.benchmarks.jax_peer import JaxPeer
from experiments.benchmarks.peers import beside_peers, closing, cost, costs, limit, not_measured
from experiments.lab.networks.residual import Block
from experiments.lab.reference_libraries import PeerMissingError
from metaplastic import (
    CrossEntropy,
    Delta,
    Episode,
    LearningRule,
    OnlineLearner,
    RandomFeedback,
    Unroll,
)
from metaplastic.alignment import KolenPollackAlignment

TASKS, STEPS, BATCH, QUERIES, SIDE, CHANNELS, CLASSES = 4, 5, 8, 16, 16, 16, 10
RATE, DECAY = 0.05, 0.01
WAYS = {"eager": Unroll(), "compiled": Unroll(compile=True)}


def learner(how: Unroll | None = None, channels: int = CHANNELS, side: int = SIDE) -> OnlineLearner:
    network = nn.Sequential(
        nn.Conv2d(3, channels, 3, 1, 1, bias=False), nn.GroupNorm(8, channels), nn.ReLU(),
        Block(channels, channels, 1, "group"),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES),
    )  # fmt: skip
    rule = LearningRule(
        RandomFeedback(weights="learned"), Delta(rate=RATE, per="shared", learn=False),
        KolenPollackAlignment(decay=DECAY),
    )  # fmt: skip
    return OnlineLearner(
        network, rule, CrossEntropy(CLASSES), unroll=how, input_shape=(3, side, side)
    )


def lifetimes(side: int = SIDE) -> Episode:
    x, y = torch.randn(TASKS, STEPS, BATCH, 3, side, side), (TASKS, STEPS, BATCH)
    query_x = torch.randn(TASKS, QUERIES, 3, side, side)
    labels, query_y = torch.randint(CLASSES, y), torch.randint(CLASSES, (TASKS, QUERIES))
    return Episode(x, labels, labels, query_x, query_y, query_y, torch.arange(TASKS))


def names_of(made: OnlineLearner) -> dict[str, str]:
    """The learned parameters, by the names that JAX is given for them."""
    found = {name: f"network.{name}" for name, _ in made.network.named_parameters()}
    for site in made.sites:
        key = site.name.replace(".", "_")
        found[f"feedback {site.name}"] = f"rule.pathway.feedback.{key}"
    return found


def work(made: OnlineLearner, episodes: Episode) -> Callable[[], dict[str, Tensor]]:
    names = names_of(made)
    parameters = [made.get_parameter(name) for name in names.values()]

    def meta_gradient() -> dict[str, Tensor]:
        loss = made(episodes).loss
        # The first site's feedback carries nothing to anywhere.
        slopes = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        return dict(zip(names, slopes, strict=True))

    return meta_gradient


def part(name: str) -> dict[str, float]:
    """The memory and the compilation of one of ours, `eager` or `compiled`."""
    episodes = lifetimes()
    return cost(lambda: work(learner(WAYS[name]), episodes))


def by_jax(
    made: OnlineLearner, episodes: Episode, *, in_turn: bool, double: bool = False
) -> JaxPeer:
    """The same lifetimes in JAX, its tasks side by side or in turn."""
    data = {"x": episodes.support_x, "y": episodes.support_y}
    data |= {"query_x": episodes.query_x, "query_y": episodes.query_y}
    named = {theirs: made.get_parameter(name) for theirs, name in names_of(made).items()}
    return JaxPeer(
        "residual", data, named, threads=torch.get_num_threads(), double=double, rate=RATE,
        decay=DECAY, in_turn=in_turn,
    )  # fmt: skip


def measure(repeat: int, seed: int) -> list[Finding]:
    made, episodes = {way: learner(how) for way, how in WAYS.items()}, lifetimes()
    for other in made.values():
        other.load_state_dict(made["eager"].state_dict())
    ways = {way: work(each, episodes) for way, each in made.items()}
    what = "residual network, Kolen-Pollack, 4 tasks x 5 steps x 8"
    peers: dict[str, JaxPeer] = {}
    try:
        for name, in_turn in {"jax": False, "jax, tasks in turn": True}.items():
            peers[name] = by_jax(made["eager"], episodes, in_turn=in_turn)
            peers[name].require_same(ways["eager"]())
    except PeerMissingError as reason:
        closing(peers)
        return [not_measured(f"{what}: jax / ours", reason)]
    spent_on = costs("residual", list(WAYS), torch.get_num_threads(), "cpu")
    weights = 4e-6 * TASKS * sum(parameter.numel() for parameter in made["eager"].parameters())
    shape = (TASKS, BATCH * SIDE * SIDE, 9 * CHANNELS, CHANNELS)  # of a convolution
    least = limit(ways["eager"], shape, 4 * STEPS * weights, weights)
    found = beside_peers(what, ways, peers, spent_on, least, repeat)
    closing(peers)
    return [found]
