"""MAML: a few gradient steps on all examples of a lifetime at once, every layer plastic.

Finn, Abbeel & Levine (2017). It does not learn online: the support set is one batch, used for
`passes` steps. A reference for the same network without a stream.
"""

from __future__ import annotations

from experiments.lab.networks.problem import Problem
from metaplastic import Backprop, Delta, LearningRule, OnlineLearner, objective_for


def build(
    problem: Problem,
    *,
    passes: int = 5,
    second_order: bool = True,
    rate: float = 0.01,
    learn_rate: bool = True,
) -> OnlineLearner:
    """`rate` is the inner learning rate; with `learn_rate` one per layer, from there (MAML++)."""
    rule = LearningRule(
        Backprop(second_order=second_order),
        Delta(rate=rate, per="layer", scale="log", learn=learn_rate),
    )
    return OnlineLearner(
        problem.network(),
        rule,
        objective_for(problem.spec),
        passes=passes,
        batch_learning=True,
    )


def rates(problem: Problem) -> dict[str, float]:
    return {"weights": 1e-3, "plasticity": 1e-2}
