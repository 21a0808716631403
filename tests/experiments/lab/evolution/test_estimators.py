"""Estimators of the meta-gradient against the library's unrolled lifetimes, and each other."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from experiments.discover import main
from experiments.lab.evolution import data, estimators, population
from experiments.lab.evolution.estimators import Antithetic, Persistent, Problem, Unrolled
from experiments.lab.evolution.networks import random_network
from experiments.lab.evolution.space import SPACE, first_point, options_at, spreads
from experiments.lab.transfer.batched import Lifetimes
from metaplastic import CrossEntropy, LearningRule, OnlineLearner, RandomFeedback
from metaplastic.alignment import KolenPollackAlignment
from metaplastic.episode import Episode
from metaplastic.inner.unroll import Unroll
from metaplastic.pathways.sampled import FEEDBACK
from metaplastic.plasticity import Adaptive

STEPS, SEGMENTS = 12, 3


@pytest.fixture
def problem(monkeypatch: pytest.MonkeyPatch) -> Problem:
    """Lifetimes of 12 examples of small images in float64, all from the same weights."""
    torch.set_default_dtype(torch.float64)
    monkeypatch.setattr(data, "QUERIES", 12)
    monkeypatch.setattr(estimators, "PIECE", 3)
    g = torch.Generator().manual_seed(0)
    images = (255 * torch.rand(12, 9, 8, 8, generator=g)).byte()

    def doubled(*args: Any) -> Lifetimes:
        found = data.lifetimes_of(*args)
        x, query_x = found.x.double(), found.query_x.double()
        return Lifetimes(x, found.y, query_x, found.query_y, found.seeds, found.outputs)

    monkeypatch.setattr(estimators, "lifetimes_of", doubled)
    make = random_network((1, 8, 8), 4, random.Random(0), kind="attention")
    kind = data.Kind(0, 4, STEPS, pool=False)
    try:
        yield Problem([data.Source(images, 3)], kind, lambda _: make(0).double(), SEGMENTS, 64)
    finally:
        torch.set_default_dtype(torch.float32)


def total(estimator: Any, problem: Problem, seed: int = 0) -> Tensor:
    here = torch.zeros(len(SPACE), dtype=torch.float64)
    return torch.stack(list(estimator(problem, lambda: here, random.Random(seed)))).sum(0)


def by_the_library(
    problem: Problem, lifetimes: Lifetimes, steps: int, truncate: int | None
) -> dict[str, float]:
    """The meta-gradient of the query loss after so many steps, by the library, in spreads."""
    options = {k: v for k, v in options_at(first_point()).items() if k not in ("sleep",)}
    awake = KolenPollackAlignment(
        decay=options.pop("feedback_decay"), gain=options.pop("gain"), learn=True
    )
    hidden = options.pop("hidden")
    plasticity = Adaptive(per="shared", scale="log", learn_traces=True, **options)
    rule = LearningRule(RandomFeedback(), plasticity, awake, hidden_multiplier=hidden)
    learner = OnlineLearner(
        problem.make(0), rule, CrossEntropy(4), input_shape=(1, 8, 8),
        unroll=Unroll(truncate=truncate),
    )  # fmt: skip
    seeds = torch.tensor(lifetimes.seeds)
    x, y = lifetimes.x[:, :steps, None], lifetimes.y[:, :steps, None]
    query = lifetimes.query_x, lifetimes.query_y, lifetimes.query_y
    first = population.Population(problem.make, lifetimes, 1, rows_of_noise=problem.rows)
    begins = learner.initialize

    def with_mirrored_feedback(support_y: Tensor, seed: Tensor) -> Any:
        fast = begins(support_y, seed)
        assert first.first.back is not None
        for name, part in zip(first.rows.names, first.rows.split(first.first.back), strict=True):
            key = FEEDBACK + name.removesuffix(".weight")
            if key in fast:
                fast[key] = part.view(fast[key].shape)
        return fast

    learner.initialize = with_mirrored_feedback  # type: ignore[method-assign]
    learner(Episode(x, y, y, *query, seeds)).loss.backward()
    logits = plasticity.logits
    assert logits is not None
    assert logits.grad is not None
    ten = torch.tensor(10.0).log()
    slopes = {
        "rate": plasticity.rates["shared"].grad * ten, "mean": logits.grad[0],
        "square": logits.grad[1], "gain": awake.learned["gain"].grad,
        "feedback_decay": awake.learned["decay"].grad * awake.learned["decay"].detach() * ten,
    }  # fmt: skip
    return {name: float(slope * SPACE[name].spread) for name, slope in slopes.items()}


@pytest.mark.parametrize("truncated", [False, True])
def test_the_meta_gradient_is_that_of_the_library(problem: Problem, truncated: bool) -> None:
    # A learner's norms and positions are meta-learned, so the network has none.
    made = nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, 1), nn.Tanh(), nn.Flatten(), nn.Linear(64, 6), nn.ReLU(),
        nn.Linear(6, 4),
    )  # fmt: skip
    problem = replace(problem, make=lambda _: made)
    found = total(Unrolled(3, truncated), problem)
    lifetimes = problem.lifetimes(3, random.Random(0))
    wanted = dict.fromkeys(("rate", "mean", "square", "gain", "feedback_decay"), 0.0)
    for segment in range(SEGMENTS):
        steps = (segment + 1) * problem.segment
        theirs = by_the_library(problem, lifetimes, steps, problem.segment if truncated else None)
        for name in wanted:
            wanted[name] += theirs[name] / SEGMENTS
    for name, value in wanted.items():
        assert abs(value) > 1e-9
        assert float(found[list(SPACE).index(name)]) == pytest.approx(value, rel=1e-6, abs=1e-12)


def test_the_meta_gradient_of_every_number_is_a_difference_of_losses(problem: Problem) -> None:
    found = total(Unrolled(2, truncated=False), problem)
    lifetimes = problem.lifetimes(2, random.Random(0))
    size = 1e-5
    points = size * torch.cat([torch.eye(len(SPACE)), -torch.eye(len(SPACE))])
    several = problem.population(lifetimes, len(points))
    state, losses = several.first, torch.zeros(len(points))
    for segment in range(SEGMENTS):
        state, loss = problem.losses(several, state, points, segment)
        losses += loss
    plus, minus = losses.view(2, -1)
    assert spreads().min() > 0
    torch.testing.assert_close(found, (plus - minus) / (2 * size), rtol=1e-4, atol=1e-8)


def test_strategies_of_small_mutations_find_the_meta_gradient(problem: Problem) -> None:
    """Both estimate it without bias; a segment alone, as truncation has it, would not do."""
    tiny = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.Tanh(), nn.Linear(5, 4))
    problem = replace(problem, make=lambda _: tiny)
    wanted = total(Unrolled(1, truncated=False), problem)
    biased = total(Unrolled(1, truncated=True), problem)
    for estimator in (Antithetic(800, 1, 1e-3), Persistent(800, 1, 1e-3)):
        found = total(estimator, problem)
        assert (found - wanted).norm() < 0.5 * wanted.norm()
        assert (found - wanted).norm() < 0.6 * (found - biased).norm()


def test_the_command_compares_four_estimators(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data, "QUERIES", 10)
    g = torch.Generator().manual_seed(0)
    means = 200 * torch.rand(6, 1, 28, 28, generator=g)
    images = (means + 50 * torch.rand(6, 9, 28, 28, generator=g)).byte()
    monkeypatch.setattr(data, "sources", lambda: [data.Source(images, 3)])
    words = "--lengths 20 --segments 2 --seeds 2 --pairs 1 --lifetimes 8 --estimates 2 --budget 1"
    out = ("--reference", "32", "--out", str(tmp_path))
    main(["--by", "evolution", "--estimators", *words.split(), *out])
    runs = json.loads((tmp_path / "estimators.json").read_text())["lengths"]["20"]
    assert len(runs) == 2
    for run in runs:
        assert len(run["rows"]) == 4
        whole = run["rows"]["meta-gradient, whole lifetimes"]
        # Two lifetimes say more of the gradient than a pair of mutants.
        assert whole["cosine"] > run["rows"]["antithetic ES, whole lifetimes"]["cosine"]
        assert 0 < whole["cosine"] <= 1
        assert 0 < run["halves"] <= 1
    table = (tmp_path / "estimators.md").read_text().partition("| 20 examples")[2]
    assert table.count("lifetimes ") >= 4
    assert table.strip() in capsys.readouterr().out
