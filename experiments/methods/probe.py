"""A probe."""

from __future__ import annotations

from experiments.problem import Problem
from metaplastic import Direct, Hebb, LearningRule, OnlineLearner, objective_for


def build(problem: Problem, *, rate: float = 1e-3) -> OnlineLearner:
    return OnlineLearner(
        problem.network(),
        LearningRule(
            Direct(teaching="error", nonlinearity="linear", gate="derivative"), Hebb(rate=rate)
        ),
        objective_for(problem.spec),
        plastic=problem.plastic,
    )


def rates(problem: Problem) -> dict[str, float]:
    return {"weights": 1e-3, "feedback": 1e-3, "plasticity": 1e-4, "strength": 1e-3}
