"""What it costs to learn one minibatch online by a rule, against a plain step of SGD."""

from __future__ import annotations

import copy
import gc
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.benchmarks import Finding
from experiments.benchmarks.measure import interleaved
from experiments.benchmarks.memory import peak_mb
from experiments.lab.networks.residual import residual
from experiments.lab.settings.registry import require
from metaplastic import LearningRule, PlasticModule, from_pretrained

NAMED, LEARNED = 1.3, 1.6  # goals: at most so many times a plain step
RULES: dict[str, tuple[Callable[[], str | LearningRule], float | None]] = {
    "backprop": (lambda: "backprop", NAMED),
    "feedback_alignment": (lambda: "feedback_alignment", NAMED),
    "direct_feedback_alignment": (lambda: "direct_feedback_alignment", NAMED),
    "kolen_pollack": (lambda: "kolen_pollack", NAMED),
    "symmetric_alignment": (lambda: "symmetric_alignment", NAMED),
    "weight_mirror": (lambda: "weight_mirror", None),  # a forward and a backward product more
    "omniglot_relative": (lambda: from_pretrained("omniglot_relative").rule, LEARNED),
    "aligned": (lambda: from_pretrained("aligned").rule, LEARNED),
}
WAYS: dict[str, Any] = {"as it is": False, "compile=True": True, '"inductor"': "inductor"}
STEADY = 10_000


class Block(nn.Module):
    """Attention and two wide layers, each behind a norm and beside a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(width, 4, batch_first=True)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        x = x + self.attend(h, h, h, need_weights=False)[0]
        out: Tensor = x + self.narrow(F.gelu(self.wide(self.second(x))))
        return out


class Transformer(nn.Module):
    """Two blocks on 49 patches of 16 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(16, 64), nn.Linear(64, 10)
        self.blocks = nn.Sequential(Block(64), Block(64))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.blocks(self.embed(x)).mean(1))
        return out


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    )


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "MLP 784-256-256-10": (perceptron, (784,)),
    "ResNet-20": (lambda: residual(norm="batch"), (3, 32, 32)),
    "transformer, 2 blocks": (Transformer, (49, 16)),
}


def measure(repeat: int, seed: int, rules: Sequence[str] = ()) -> list[Finding]:
    """All of `RULES` and the memory, or `rules` alone."""
    for name in rules:
        require(name, RULES, "a rule of this row")
    found = []
    for network, (make, shape) in NETWORKS.items():
        for batch in (1, 64):
            torch.manual_seed(seed)
            x, y = torch.randn(batch, *shape), torch.randint(10, (batch,))
            model = make()
            for name in rules or RULES:
                rule = RULES[name][0]
                candidates: dict[str, Callable[[], Any]] = {
                    "SGD": plain(copy.deepcopy(model), x, y)
                }
                first = {}
                for way, how in WAYS.items():
                    start = time.perf_counter()
                    candidates[way] = online(copy.deepcopy(model), rule(), x, y, how)
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # of programs too long for machine code
                        candidates[way]()
                    first[way] = time.perf_counter() - start
                # A round of a few milliseconds is at the mercy of one interruption.
                times = interleaved(candidates, max(repeat, 9) if batch == 1 else repeat, calls=9)
                found.append(_finding(network, batch, name, times, first))
            print(f"one online example, {network}, batch {batch}: done", file=sys.stderr)
    return found if rules else [*found, memory(seed)]


def plain(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Any]:
    """A step of `torch.optim.SGD`, as in any training loop."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def step() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item()

    return step


def online(
    model: nn.Module, rule: str | LearningRule, x: Tensor, y: Tensor, compile: Any = False
) -> Callable[[], Any]:
    """The same minibatch learned by a `PlasticModule`."""
    rate = 1e-4 if isinstance(rule, str) else None
    net = PlasticModule(model, rule, example=x, rate=rate, compile=compile)

    def step() -> float:
        net(x)
        return net.learn(y).item()

    return step


def _finding(
    network: str, batch: int, name: str, times: dict[str, list[float]], first: dict[str, float]
) -> Finding:
    """The ratios to plain SGD in the same run; the goal is that of the faster compiled way."""
    sgd, goal = times["SGD"], RULES[name][1]
    parts, ratios = [], {}
    for way in WAYS:
        each = sorted(one / other for one, other in zip(times[way], sgd, strict=True))
        ratios[way] = median(each)
        parts.append(
            f"{way} {ratios[way]:.2f} ({each[0]:.2f} to {each[-1]:.2f}), first {first[way]:.1f} s"
        )
    best = min(ratios["compile=True"], ratios['"inductor"'])
    return Finding(
        what=f"one online step, {network}, batch {batch}, {name}: its time / plain SGD's, "
        f"{1e3 * median(sgd):.2f} ms",
        result="; ".join(parts),
        goal="" if goal is None else f"at most {goal}, compiled",
        met=None if goal is None else best <= goal,
        peak_mb=peak_mb(),
        detail={"ratio": best, **ratios},
    )


def memory(seed: int) -> Finding:
    """What ten thousand examples one at a time leave behind."""
    torch.manual_seed(seed)
    x, y = torch.randn(STEADY, 1, 784), torch.randint(10, (STEADY, 1))
    net = PlasticModule(perceptron(), "kolen_pollack", example=x[0], rate=1e-3)
    for i in range(200):  # caches fill
        net(x[i])
        net.learn(y[i])
    gc.collect()
    before = peak_mb()
    for i in range(STEADY):
        net(x[i])
        net.learn(y[i])
    grown = peak_mb() - before
    return Finding(
        what=f"{STEADY} online examples, MLP, kolen_pollack: peak memory grows by",
        result=f"{grown:.1f} MB",
        goal="at most 2 MB",
        met=grown <= 2,
        peak_mb=peak_mb(),
        detail={"grown_mb": grown},
    )
