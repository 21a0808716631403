"""What it costs to learn one minibatch online by a rule, against a plain step of SGD."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.benchmarks import Finding
from experiments.benchmarks.measure import interleaved
from experiments.benchmarks.memory import peak_mb
from experiments.lab.networks.residual import residual
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
}
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


def measure(repeat: int, seed: int) -> list[Finding]:
    found = []
    for network, (make, shape) in NETWORKS.items():
        for batch in (1, 64):
            torch.manual_seed(seed)
            x, y = torch.randn(batch, *shape), torch.randint(10, (batch,))
            model = make()
            candidates: dict[str, Callable[[], Any]] = {"SGD": plain(copy.deepcopy(model), x, y)}
            for name, (rule, _) in RULES.items():
                candidates[name] = online(copy.deepcopy(model), rule(), x, y)
            # A round of a few milliseconds is at the mercy of one interruption.
            times = interleaved(candidates, max(repeat, 9) if batch == 1 else repeat, calls=9)
            sgd = times.pop("SGD")
            for name, spent in times.items():
                found.append(_finding(network, batch, name, spent, sgd))
    return [*found, memory(seed)]


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


def online(model: nn.Module, rule: str | LearningRule, x: Tensor, y: Tensor) -> Callable[[], Any]:
    """The same minibatch learned by a `PlasticModule`."""
    rate = 1e-4 if isinstance(rule, str) else None
    net = PlasticModule(model, rule, example=x, rate=rate)

    def step() -> float:
        net(x)
        return net.learn(y).item()

    return step


def _finding(network: str, batch: int, name: str, spent: list[float], sgd: list[float]) -> Finding:
    ratios = sorted(one / other for one, other in zip(spent, sgd, strict=True))
    ratio, goal = median(ratios), RULES[name][1]
    return Finding(
        what=f"one online step, {network}, batch {batch}, {name}: its time / plain SGD's",
        result=f"{ratio:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); "
        f"{1e3 * median(spent):.2f} ms / {1e3 * median(sgd):.2f} ms",
        goal="" if goal is None else f"at most {goal}",
        met=None if goal is None else ratio <= goal,
        peak_mb=peak_mb(),
        detail={"ratio": ratio},
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
