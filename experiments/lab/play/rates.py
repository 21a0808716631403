"""Rates of the page's learners, chosen on validation characters, and what they reach on test ones.

A lifetime is as on the page: a few characters, a few drawings of each, character after character in
one pass; then other people's drawings of them are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from experiments.lab.play.learners import CHOICES, SHIPPED, features_of, make_learner
from experiments.lab.transfer.lifetimes import choose
from metaplastic.support.seeding import seeded
from tasks.split_omniglot import SplitOmniglot

CHARACTERS, DRAWINGS, QUERIES = 5, 3, 5
RATES = (0.003, 0.01, 0.03, 0.1)
SCALES = (0.3, 1.0, 3.0)


@dataclass(frozen=True)
class Lifetime:
    """Features and labels of what is learned, in order, and of the queries after it."""

    x: Tensor  # examples features
    y: Tensor  # examples
    query_x: Tensor  # queries features
    query_y: Tensor  # queries
    seed: int


def sample(split: str, count: int, data: Path | None, seed: int) -> list[Lifetime]:
    """`count` lifetimes of characters of a split of Omniglot."""
    shape = {"ways": CHARACTERS, "slots": CHARACTERS, "shots": DRAWINGS}
    held = {"support_instances": (0, 15), "query_instances": (15, 20)}
    root = None if data is None else str(data)
    stream = SplitOmniglot(split=split, root=root, queries_per_class=QUERIES, **shape, **held)  # type: ignore[arg-type]
    found = []
    for number in range(count):
        episode = stream.sample(1, seeded(seed, "play", split, number))
        x, query = (
            features_of((images[0].reshape(-1, 28, 28) * 255).round().to(torch.uint8))
            for images in (episode.support_x, episode.query_x)
        )
        y = episode.support_y[0, :, 0]
        found.append(Lifetime(x, y, query, episode.query_y[0], number))
    return found


def accuracy(name: str, rate: float, lifetimes: Sequence[Lifetime]) -> list[float]:
    """The accuracy after each lifetime, among its characters; 0 after a step that diverged."""
    found = []
    for lifetime in lifetimes:
        learner = make_learner(name, lifetime.seed, rate)
        try:
            for example, label in enumerate(lifetime.y.tolist()):
                learner.learn(lifetime.x[example : example + 1], label)
        except FloatingPointError:
            found.append(0.0)
            continue
        guesses = learner.logits(lifetime.query_x)[:, :CHARACTERS].argmax(-1)
        found.append(float((guesses == lifetime.query_y).double().mean()))
    return found


def tune(data: Path | None, seed: int, count: int) -> list[dict[str, Any]]:
    """A row for each learner: its best rate on validation, and its accuracy on test characters."""
    choosing, testing = (sample(split, count, data, seed) for split in ("validation", "test"))
    rows = []
    for name, choice in CHOICES.items():
        rate, tried = 1.0, dict[float, float]()
        if name not in SHIPPED:
            grid = SCALES if name == "discovered" else RATES
            rate, tried = choose(
                lambda rate, name=name: fmean(accuracy(name, rate, choosing)),  # type: ignore[misc]
                grid,
            )
        scores = accuracy(name, rate, testing)
        half = 1.96 * stdev(scores) / len(scores) ** 0.5 if len(scores) > 1 else 0.0
        rows.append({
            "learner": choice.title,
            "validation %, by rate": ", ".join(
                f"{r:.2g}: {100 * score:.1f}" for r, score in sorted(tried.items())
            ) or "as shipped",
            "rate": f"{rate:.2g}",
            "on the page": f"{choice.rate:.2g}",
            "test %": f"{100 * fmean(scores):.1f} ± {100 * half:.1f}",
        })  # fmt: skip
    return rows
