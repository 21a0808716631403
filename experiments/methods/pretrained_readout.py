"""Ordinary pretraining with a cosine head, then a local readout: a control for meta-learning.

The head of `flp_readout` is trained as a classifier of all training classes, without the rule; at
test its rows start from zero and learn by Oja's rule, at one rate.
"""

from __future__ import annotations

from experiments.lab.networks.problem import Problem
from experiments.methods.pretrained import rates, stream
from metaplastic import Direct, Initialization, LearningRule, Oja, OnlineLearner, objective_for

__all__ = ["build", "rates", "stream"]


def build(problem: Problem, *, rate: float = 0.05) -> OnlineLearner:
    """`rate`: after n examples the k-th from the end weighs `(1 - rate) ** k`."""
    rule = LearningRule(
        Direct(teaching="label", strength=1.0, learn_strength=False),
        Oja(rate=rate, per="layer", learn=False),
        frozen_in_training=True,
    )
    return OnlineLearner(
        problem.network("cosine", hidden="linear"),
        rule,
        objective_for(problem.spec),
        plastic=1,
        initialization_at_test=Initialization(readout="zeroed"),
    )
