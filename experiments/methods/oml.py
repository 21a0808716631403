"""OML: a representation meta-learned so that plain online SGD on top of it does not interfere.

Javed & White (2019), with the exact second-order meta-gradient. Inner rates are learned here per
parameter (Meta-SGD), as FLP's are; the rows of the classes to come are redrawn before each
lifetime, and the whole readout at test, as in the released code.
"""

from __future__ import annotations

from typing import Literal

from experiments.problem import Problem
from metaplastic import Backprop, Birth, Delta, LearningRule, OnlineLearner, objective_for


def build(
    problem: Problem,
    *,
    second_order: bool = True,
    per: Literal["synapse", "neuron", "feature", "layer", "shared"] = "synapse",
    scale: Literal["log", "raw"] = "log",
    rate: float = 0.01,
    learn_rate: bool = True,
    plastic: int | None = None,
    redraw: bool = True,
) -> OnlineLearner:
    """`redraw` is OML's treatment of the readout: its rows in training, all of it at test."""
    rule = LearningRule(
        Backprop(second_order=second_order),
        Delta(rate=rate, per=per, scale=scale, learn=learn_rate),
    )
    redraw = redraw and problem.classification
    return OnlineLearner(
        problem.network(),
        rule,
        objective_for(problem.spec),
        plastic=plastic or problem.plastic,
        birth=Birth(readout="rows") if redraw else None,
        birth_at_test=Birth(readout="redrawn") if redraw else None,
    )


def rates(problem: Problem) -> dict[str, float]:
    """Adam's; the published weights' rate at paper size."""
    if problem.size == "paper":
        return {"weights": 1e-4, "plasticity": 1e-2}
    return {"weights": 2e-3, "plasticity": 3e-2}
