"""A meta-batch with an explicit task axis = `vmap` over one task = a Python loop over tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaplastic import Backprop, Delta, Direct, Episode, LearningRule, Oja, OnlineLearner
from tests.helpers.lifetimes import apart, dense, episodes, learned, learner
from tests.helpers.one_task import flp_lifetime, sgd_lifetime

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}
NETWORKS: dict[str, tuple[Callable[[], nn.Sequential], tuple[int, ...]]] = {
    "dense": (lambda: dense(4, 6, 5, 3), (4,)),
    "convolutional": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.GroupNorm(1, 3), nn.Tanh(),
            nn.Conv2d(3, 4, 2, padding=1), nn.Tanh(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(16, 3),
        ),
        (2, 6, 6),
    ),
}  # fmt: skip
SGD: dict[str, dict[str, Any]] = {
    "MAML": {},
    "MAML, three passes": {"passes": 3},
    "MAML, one batch": {"batch_learning": True, "passes": 4},
    "OML": {"plastic": 2},
    "one site": {"plastic": 1},
}


def by_vmap(
    made: OnlineLearner, episode: Episode, lifetime: Callable[..., tuple[Tensor, Tensor]]
) -> tuple[dict[str, Tensor], Tensor]:
    """Meta-gradient and predictions of `lifetime(support, query)`, one task at a time in a vmap."""
    loss, prediction = torch.func.vmap(lambda x, y, qx, qy: lifetime((x, y), (qx, qy)))(
        episode.support_x, episode.support_y, episode.query_x, episode.query_y
    )
    leaves = learned(made)
    found = torch.autograd.grad(
        loss.mean(), list(leaves.values()), allow_unused=True, materialize_grads=True
    )
    return dict(zip(leaves, found, strict=True)), prediction.detach()


def by_axis(made: OnlineLearner, episode: Episode) -> tuple[dict[str, Tensor], Tensor]:
    made.zero_grad()
    meta = made(episode)
    meta.loss.backward()
    gradient = {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in learned(made).items()
    }
    return gradient, meta.prediction


def by_loop(made: OnlineLearner, episode: Episode) -> tuple[dict[str, Tensor], Tensor]:
    alone = [by_axis(made, episode.select(slice(task, task + 1))) for task in range(episode.tasks)]
    mean = {
        name: torch.stack([gradient[name] for gradient, _ in alone]).mean(0) for name in alone[0][0]
    }
    return mean, torch.cat([prediction for _, prediction in alone])


def assert_one(
    made: OnlineLearner, episode: Episode, lifetime: Callable[..., tuple[Tensor, Tensor]]
) -> None:
    near = TOLERANCE[episode.support_x.dtype]
    gradient, prediction = by_axis(made, episode)
    for way in (by_loop(made, episode), by_vmap(made, episode, lifetime)):
        assert apart(gradient, way[0]) < near
        assert apart({"": prediction}, {"": way[1]}) < near
    assert all(g.abs().max() > 0 for g in gradient.values())


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("options", SGD.values(), ids=SGD.keys())
def test_gradient_learners(options: dict[str, Any], network: str, dtype: torch.dtype) -> None:
    make, shape = NETWORKS[network]
    made = learner(make(), LearningRule(Backprop(), Delta(rate=0.05)), dtype=dtype, **options)
    episode = episodes(outputs=3, shape=shape, tasks=3, steps=3, dtype=dtype)
    rates = {}
    for site in made.sites:
        rates[site.name + ".weight"] = made.rule.plasticity.rate(site).view_as(site.module.weight)
        rates[site.name + ".bias"] = made.rule.plasticity.bias_rate(site)

    def lifetime(support: Any, query: Any) -> tuple[Tensor, Tensor]:
        if options.get("batch_learning"):
            support = tuple(part.flatten(0, 1)[None] for part in support)
        weights = dict(made.network.named_parameters())
        return sgd_lifetime(
            made.network, weights, rates, F.cross_entropy, support, query, options.get("passes", 1)
        )

    assert_one(made, episode, lifetime)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("plastic", [None, 2, 1])
def test_local_learners(plastic: int | None, network: str, dtype: torch.dtype) -> None:
    make, shape = NETWORKS[network]
    pathway = Direct(teaching="error")
    rule = LearningRule(pathway, Oja(rate=0.05))
    made = learner(make(), rule, dtype=dtype, plastic=plastic)
    episode = episodes(outputs=3, shape=shape, tasks=3, steps=4, dtype=dtype)
    rates = {site.name: rule.plasticity.rate(site) for site in made.sites}
    feedback: dict[str, Tensor] = {}
    for site in made.sites[:-1]:
        feedback[f"B.{site.name}"], feedback[f"c.{site.name}"] = pathway.pathways[
            site.key
        ].parameters()
        feedback[f"b.{site.name}"] = pathway.strengths[site.key]

    def lifetime(support: Any, query: Any) -> tuple[Tensor, Tensor]:
        weights = dict(made.network.named_parameters())
        return flp_lifetime(made.network, weights, rates, feedback, F.cross_entropy, support, query)

    assert_one(made, episode, lifetime)


def test_a_lifetime_does_not_depend_on_its_company() -> None:
    made = learner(dense(4, 5, 3), LearningRule(Direct(teaching="error"), Oja(rate=0.05)))
    episode = episodes(outputs=3, shape=(4,), tasks=4)
    others = episode._replace(support_x=episode.support_x.clone())
    others.support_x[1:] = torch.randn_like(others.support_x[1:])
    assert torch.equal(made(episode).prediction[0], made(others).prediction[0])
    assert not torch.equal(made(episode).prediction[1], made(others).prediction[1])
