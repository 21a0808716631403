"""Second-order SGD inside: `higher` and learn2learn against ours, eager and compiled.

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
from experiments.benchmarks.measure import interleaved, versus
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


PEERS = {"higher": by_higher, "learn2learn": by_learn2learn}


def measure(repeat: int, seed: int) -> list[Finding]:
    findings = []
    for sizes, goals in GOALS.items():
        inputs, hidden, classes = sizes
        network = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))
        episodes = lifetimes(inputs, classes)
        what = f"16 tasks x 5 SGD steps, {'-'.join(map(str, sizes))}"
        candidates: dict[str, Gradient] = {}
        for name, made in PEERS.items():
            try:
                candidates[name] = made(network, episodes)
            except PeerMissingError as reason:
                findings.append(Finding(f"{what}: {name} / ours", f"not measured: {reason}"))
        here = list(candidates)
        candidates["ours"] = by_us(network, episodes, classes, Unroll())
        candidates["ours, compiled"] = by_us(network, episodes, classes, Unroll(compile=True))
        reference, *others = (work() for work in candidates.values())
        for other in others:
            torch.testing.assert_close(other, reference, rtol=1e-4, atol=1e-6)
        times = interleaved(candidates, repeat)
        for us in ("ours", "ours, compiled"):
            findings += [versus(what, times, name, us, goals[name]) for name in here]
    return findings
