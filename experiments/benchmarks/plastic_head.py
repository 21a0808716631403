"""A plastic head of 256 x 256 synapses: an unroll in plain torch, JAX, and ours.

8 lifetimes of 25 one-example steps by Oja's rule with a rate per synapse, then the meta-gradient
in first weights, rates and, where the head is driven by feedback, feedback weights. Two readings:
label-taught feedback with strength 1/2, so that every step needs the forward pass and all the
meta-gradient's paths exist; and the readout clamped to the label, as in few-shot classification.
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
from experiments.lab.reference_libraries import PeerMissingError
from metaplastic import CrossEntropy, Direct, Episode, LearningRule, Oja, OnlineLearner, Unroll

TASKS, STEPS, UNITS, QUERIES, RATE = 8, 25, 256, 25, 1e-3
GOAL = 8
CASES = {"driven": "driven with strength 1/2", "clamped": "clamped to the label"}
NAMES = {"clamped": {"weight": "network.0.weight", "rate": "rule.plasticity.rates.0"}}
NAMES["driven"] = {
    **NAMES["clamped"], "feedback": "rule.pathway.pathways.0.0.weight",
    "offset": "rule.pathway.pathways.0.0.bias", "strength": "rule.pathway.strengths.0",
}  # fmt: skip


def lifetimes() -> Episode:
    x, y = torch.rand(TASKS, STEPS, 1, UNITS), torch.randint(UNITS, (TASKS, STEPS, 1))
    query_x, query_y = torch.rand(TASKS, QUERIES, UNITS), torch.randint(UNITS, (TASKS, QUERIES))
    return Episode(x, y, y, query_x, query_y, query_y, torch.arange(TASKS))


def plain(episodes: Episode, learner: OnlineLearner, driven: bool) -> Callable[[], list[Tensor]]:
    """The same lifetime as anyone would write it, tasks in one batch, on its own parameters."""
    names = [name for name, p in learner.named_parameters() if p.requires_grad]
    copies = [learner.get_parameter(name).detach().clone().requires_grad_() for name in names]
    given = dict(zip(names, copies, strict=True))
    rate = given["rule.plasticity.rates.0"]
    targets = F.one_hot(episodes.support_y, UNITS).to(rate.dtype)

    def meta_gradient() -> list[Tensor]:
        weight = given["network.0.weight"].expand(TASKS, UNITS, UNITS)
        for step in range(STEPS):
            x, post = episodes.support_x[:, step], targets[:, step]
            if driven:
                drive = F.linear(
                    post,
                    given["rule.pathway.pathways.0.0.weight"],
                    given["rule.pathway.pathways.0.0.bias"],
                ).relu()
                strength = given["rule.pathway.strengths.0"]
                post = strength * drive + (1 - strength) * torch.bmm(x, weight.mT)
            forgetting = post.square().sum(1)[:, :, None] * weight
            weight = weight + rate * (torch.bmm(post.mT, x) - forgetting)
        prediction = torch.bmm(episodes.query_x, weight.mT)
        loss = F.cross_entropy(prediction.flatten(0, 1), episodes.query_y.flatten())
        return list(torch.autograd.grad(loss, copies))

    return meta_gradient


def ours(episodes: Episode, learner: OnlineLearner, how: Unroll) -> Callable[[], list[Tensor]]:
    parameters = [p for p in learner.parameters() if p.requires_grad]

    def meta_gradient() -> list[Tensor]:
        learner.unroll = how
        return list(torch.autograd.grad(learner(episodes).loss, parameters))

    return meta_gradient


def made(case: str, device: str) -> OnlineLearner:
    feedback = Direct(teaching="label", readout="feedback" if case == "driven" else "clamped")
    network = nn.Sequential(nn.Linear(UNITS, UNITS, bias=False))
    rule = LearningRule(feedback, Oja(rate=RATE))
    return OnlineLearner(network, rule, CrossEntropy(UNITS)).to(device)


def part(name: str, device: str) -> dict[str, float]:
    """The memory and the compilation of one of ours, `CASE eager` or `CASE compiled`."""
    case, how = name.split()
    episodes = lifetimes().to(device)
    unroll = Unroll(compile=how == "compiled")
    return cost(lambda: ours(episodes, made(case, device), unroll))


def by_jax(episodes: Episode, learner: OnlineLearner, case: str, device: str) -> JaxPeer:
    """The same lifetimes in JAX, whose meta-gradient was found to be ours."""
    data = {"x": episodes.support_x[:, :, 0], "y": episodes.support_y[:, :, 0]}
    data |= {"query_x": episodes.query_x, "query_y": episodes.query_y}
    named = {theirs: learner.get_parameter(name) for theirs, name in NAMES[case].items()}
    peer = JaxPeer(
        "plastic_head", data, named, device=device, threads=torch.get_num_threads(),
        driven=case == "driven",
    )  # fmt: skip
    gradients = torch.autograd.grad(learner(episodes).loss, list(named.values()))
    peer.require_same(dict(zip(named, gradients, strict=True)))
    return peer


def measure(repeat: int, seed: int, device: str = "cpu") -> list[Finding]:
    episodes, findings = lifetimes().to(device), []
    for case, name in CASES.items():
        learner = made(case, device)
        candidates = {
            "plain autograd": plain(episodes, learner, case == "driven"),
            "ours, compiled": ours(episodes, learner, Unroll(compile=True)),
        }
        first, second = (work() for work in candidates.values())
        for one, other in zip(first, second, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(one.abs().max()))
        times = interleaved(candidates, repeat)
        what = f"plastic head 256x256, {name}"
        findings.append(versus(what, times, "plain autograd", "ours, compiled", GOAL))
        findings += beside(what, case, episodes, learner, candidates, repeat, device)
    return findings


def beside(
    what: str,
    case: str,
    episodes: Episode,
    learner: OnlineLearner,
    candidates: dict[str, Callable[[], list[Tensor]]],
    repeat: int,
    device: str,
) -> list[Finding]:
    """Ours, eager and compiled, beside plain autograd and JAX."""
    eager = ours(episodes, learner, Unroll())
    ways = {"eager": eager, "compiled": candidates["ours, compiled"]}
    peers: dict[str, Callable[[], object]] = {"plain autograd": candidates["plain autograd"]}
    found = []
    try:
        peers["jax"] = by_jax(episodes, learner, case, device)
    except PeerMissingError as reason:
        found.append(not_measured(f"{what}: jax / ours", reason))
    names = {way: f"{case} {way}" for way in ways}
    spent = costs("plastic_head", list(names.values()), torch.get_num_threads(), device)
    spent_on = {way: spent[name] for way, name in names.items()}
    weights = 4e-6 * TASKS * UNITS * UNITS
    # A step reads and writes the weights, and in the backward pass their gradient.
    least = limit(
        candidates["plain autograd"], (TASKS, 1, UNITS, UNITS), 4 * STEPS * weights, weights
    )
    found.append(beside_peers(what, ways, peers, spent_on, least, repeat))
    closing(peers)
    return found
