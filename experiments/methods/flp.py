"""FLP exactly as published: rectified, ungated feedback and Oja's rule with a raw rate per synapse.

Lindsey & Litwin-Kumar (2020), in the settings of their example scripts. Regression: the error is
fed back, also to the readout, with a learned strength. Classification: the label is fed
back with strength 1, the readout is clamped to it, and hidden rates are multiplied by 100.
"""

from __future__ import annotations

from experiments.lab.networks.problem import Problem
from metaplastic import Direct, LearningRule, Oja, OnlineLearner, objective_for


def build(problem: Problem, *, rate: float = 0.0) -> OnlineLearner:
    """`rate` is the plasticity at the first meta-step; the published scripts start from none."""
    if problem.classification:
        feedback = Direct(teaching="label", strength=1.0, learn_strength=False)
        rule = LearningRule(feedback, Oja(rate=rate), hidden_multiplier=100, reduction="sum")
    else:
        feedback = Direct(teaching="error", strength=0.5, readout="feedback")
        rule = LearningRule(feedback, Oja(rate=rate), reduction="sum")
    return OnlineLearner(
        problem.network(), rule, objective_for(problem.spec), plastic=problem.plastic
    )


def rates(problem: Problem) -> dict[str, float]:
    """Adam's, as published; at laptop size larger, for far fewer meta-steps.

    The classifier's plasticity has the published rate: with the factor 100 in the hidden layer,
    larger steps make its units inactive within a few meta-steps.
    """
    if problem.size == "paper":
        plasticity = 1e-5 if problem.classification else 1e-8
        return {"weights": 1e-4, "feedback": 1e-4, "plasticity": plasticity, "strength": 1e-4}
    plasticity = 1e-5 if problem.classification else 1e-6
    return {"weights": 1e-3, "feedback": 1e-3, "plasticity": plasticity, "strength": 1e-3}
