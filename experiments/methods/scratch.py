"""From scratch: a fresh network in every lifetime, plain online SGD in all layers.

Only the learning rate of each layer is meta-learned, so this is what online gradient descent can
do on the stream at its best step size, without any meta-learned weight.
"""

from __future__ import annotations

from experiments.lab.networks.problem import Problem
from metaplastic import Backprop, Delta, Initialization, LearningRule, OnlineLearner, objective_for


def build(problem: Problem, *, rate: float = 0.01) -> OnlineLearner:
    rule = LearningRule(Backprop(), Delta(rate=rate, per="layer", scale="log"))
    return OnlineLearner(
        problem.network(),
        rule,
        objective_for(problem.spec),
        initialization=Initialization(hidden="redrawn", readout="redrawn"),
    )


def rates(problem: Problem) -> dict[str, float]:
    """Weights get no useful meta-gradient: every lifetime redraws them."""
    return {"weights": 0.0, "plasticity": 3e-2}
