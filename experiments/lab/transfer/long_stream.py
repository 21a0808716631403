"""A long life: every training image of CIFAR-10 once, one after another, by a rule and by SGD.

ResNet-20 with GroupNorm from its first weights. Both learn online, one example a step. The rate of
SGD, by exact backprop, is the best of some on training images that nobody else sees, after the
first part of the stream; the rule is used as it is. On the way: accuracy on test images, and the
angle between the weights and what carries errors back, as a mean over sites.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from experiments.lab.deep_training import jpeg75
from experiments.lab.figures.tables import as_markdown, over_seeds
from experiments.lab.networks.residual import residual
from metaplastic import LearningRule, PlasticModule
from metaplastic.online.credit_angles import angle
from tasks.data import data_folder

HELD_OUT = 2_000  # of the training images, to choose a rate by
SEEN_AT_ONCE = 500


class Images(NamedTuple):
    """Images `n 3 32 32` as bytes, and labels."""

    x: Tensor
    y: Tensor

    def real(self, which: Tensor | slice) -> Tensor:
        """These images as numbers of about mean 0 and variance 1."""
        return (self.x[which].float() / 255 - 0.473) / 0.251


@dataclass(frozen=True)
class Life:
    """How long, and how often it is measured."""

    examples: int
    every: int
    tuning: int
    tests: int
    compile: Any = "inductor"


def both(rule: LearningRule, life: Life, rates: Sequence[float], seed: int) -> dict[str, Any]:
    """What the rule and SGD reach on the way, with one seed, and the rate of SGD."""
    x, y, test_x, test_y = jpeg75.read((data_folder(None) or Path()) / "cifar10")
    train, test = Images(x, y.long()), Images(test_x, test_y.long())
    kept = torch.randperm(len(train.y), generator=torch.Generator().manual_seed(seed))
    order, held = kept[:-HELD_OUT], Images(train.x[kept[-HELD_OUT:]], train.y[kept[-HELD_OUT:]])
    tests = Images(test.x[: life.tests], test.y[: life.tests])
    tuned = {rate: _tuned(rate, train, order, held, life, seed) for rate in rates}
    best = max(tuned, key=lambda rate: tuned[rate])
    print(f"seed {seed}: SGD's rate is {best:g} of {tuned}", flush=True)
    return {
        "rate": best,
        "sgd": _lifetime(_net("backprop", best, seed, life), train, order, tests, life, seed),
        "rule": _lifetime(_net(rule, None, seed, life), train, order, tests, life, seed),
    }


def table(runs: Sequence[dict[str, Any]]) -> str:
    """A row for each moment, of the runs of all seeds."""
    rows = []
    for moment in range(len(runs[0]["rule"])):
        own = [run["rule"][moment] for run in runs]
        sgd = [run["sgd"][moment] for run in runs]
        rows.append(
            {
                "examples": f"{own[0]['examples']:,}",
                "the rule": over_seeds([each["accuracy"] for each in own], "{:.1f}"),
                "backprop, SGD": over_seeds([each["accuracy"] for each in sgd], "{:.1f}"),
                "angle of W and B": over_seeds([each["angle"] for each in own], "{:.1f}"),
                "the widest": over_seeds([each["widest"] for each in own], "{:.1f}"),
                "ms an example": over_seeds([each["ms"] for each in own], "{:.2f}"),
                "SGD, ms": over_seeds([each["ms"] for each in sgd], "{:.2f}"),
            }
        )
    return as_markdown(rows, order=())


def _net(rule: str | LearningRule, rate: float | None, seed: int, life: Life) -> PlasticModule:
    torch.manual_seed(seed)
    network = residual(norm="group")
    example = torch.zeros(1, 3, 32, 32)
    given = rule if isinstance(rule, str) else copy.deepcopy(rule)
    return PlasticModule(
        network, given, example=example, rate=rate, seed=seed, compile=life.compile
    )


def _tuned(rate: float, train: Images, order: Tensor, held: Images, life: Life, seed: int) -> float:
    """SGD's accuracy on held-out images after the first part of the stream."""
    net = _net("backprop", rate, seed, life)
    try:
        _learn(net, train, order[: life.tuning])
    except FloatingPointError:
        return 0.0
    return accuracy(net, held)


def _lifetime(
    net: PlasticModule, train: Images, order: Tensor, tests: Images, life: Life, seed: int
) -> list[dict[str, float]]:
    """What is measured at the start and after every so many examples."""
    found: list[dict[str, float]] = []
    spent = 0.0
    for end in range(0, life.examples + 1, life.every):
        if end:
            start = time.perf_counter()
            _learn(net, train, order[end - life.every : end])
            spent = 1e3 * (time.perf_counter() - start) / life.every
        wide = [
            angle(net.credit.weight(name, net.model), net.credit.through(name, net.model))
            for name in net.sites.names
        ]
        found.append(
            {
                "examples": end, "accuracy": 100 * accuracy(net, tests),
                "angle": sum(wide) / len(wide), "widest": max(wide), "ms": spent,
            }
        )  # fmt: skip
        print(f"seed {seed}: {found[-1]}", flush=True)
    return found


def _learn(net: PlasticModule, train: Images, which: Tensor) -> None:
    net.train()
    for number in which[:, None]:
        net(train.real(number))
        net.learn(train.y[number])


@torch.no_grad()
def accuracy(net: PlasticModule, images: Images) -> float:
    """The share of images that are named right."""
    net.eval()
    right = 0
    for first in range(0, len(images.y), SEEN_AT_ONCE):
        part = slice(first, first + SEEN_AT_ONCE)
        right += int((net(images.real(part)).argmax(1) == images.y[part]).sum())
    return right / len(images.y)
