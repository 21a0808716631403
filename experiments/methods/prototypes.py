"""Nearest class mean: an encoder meta-learned so that the mean of a class tells it from others.

Snell, Swersky & Zemel (2017), on features of unit length. As a rule it is Hebb at rate 1 from
nothing, which sums up and counts what each class is taught (`NearestMean`).
"""

from __future__ import annotations

from typing import Literal

from experiments.lab.networks.problem import Problem
from experiments.methods.flp_readout import stream
from metaplastic import (
    Direct,
    Hebb,
    Initialization,
    LearningRule,
    OnlineLearner,
    Unroll,
    objective_for,
)

__all__ = ["build", "rates", "stream"]


def build(problem: Problem, *, head: Literal["mean", "cosine"] = "mean") -> OnlineLearner:
    rule = LearningRule(
        Direct(teaching="label", strength=1.0, learn_strength=False),
        Hebb(rate=1.0, per="layer", learn=False),
    )
    return OnlineLearner(
        problem.network(head, hidden="linear"),
        rule,
        objective_for(problem.spec),
        plastic=1,
        initialization=Initialization(readout="zeroed"),
        unroll=Unroll(both_ways=problem.many_classes),
    )


def rates(problem: Problem) -> dict[str, float]:
    return {"weights": 1.5e-3}
