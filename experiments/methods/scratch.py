"""From scratch: a newly initialized network in every lifetime, online SGD in all layers.

Only the learning rate of each layer, or one of all layers, is meta-learned: online gradient descent
at its best step size, without meta-learned weights.
"""

from __future__ import annotations

from typing import Literal

from experiments.lab.networks.problem import Problem
from metaplastic import Backprop, Delta, Initialization, LearningRule, OnlineLearner, objective_for


def build(
    problem: Problem, *, rate: float = 0.01, per: Literal["layer", "shared"] = "layer"
) -> OnlineLearner:
    rule = LearningRule(Backprop(), Delta(rate=rate, per=per, scale="log"))
    return OnlineLearner(
        problem.network(),
        rule,
        objective_for(problem.spec),
        initialization=Initialization(hidden="redrawn", readout="redrawn"),
    )


def rates(problem: Problem) -> dict[str, float]:
    """Weights have rate 0, since every lifetime resamples them."""
    return {"weights": 0.0, "plasticity": 3e-2}
