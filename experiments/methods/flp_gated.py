"""FLP in the form that works on error: linear gated feedback and normalized Hebb with log rates.

What differs from the published form, each an option of its own: feedback is not rectified, so a
unit can hear that it should do less; it reaches only active units, the ones that had a part in the
error; the readout hears the error itself; growth is divided by the power of the input, which bounds
the stable rates once and for all; and rates are log-scaled, so a meta-step changes them by a
fraction and never turns a stable rule into a diverging one.
"""

from __future__ import annotations

from typing import Literal

from experiments.problem import Problem
from metaplastic import (
    Direct,
    Hebb,
    LearningRule,
    NormalizedHebb,
    Oja,
    OnlineLearner,
    StableOja,
    objective_for,
)

RULES = {
    "normalized_hebb": NormalizedHebb,
    "hebb": Hebb,
    "oja": Oja,
    "stable_oja": StableOja,
}


def build(
    problem: Problem,
    *,
    plasticity: Literal["normalized_hebb", "hebb", "oja", "stable_oja"] = "normalized_hebb",
    feedback: Literal["learned", "random", "none"] = "learned",
    nonlinearity: Literal["linear", "relu"] = "linear",
    gate: Literal["derivative", "none"] = "derivative",
    readout: Literal["clamped", "feedback"] = "clamped",
    per: Literal["synapse", "neuron", "feature", "layer", "shared"] = "synapse",
    scale: Literal["log", "raw"] = "log",
    rate: float = 0.3,
    plastic: int | None = None,
) -> OnlineLearner:
    """`rate` is the plasticity at the first meta-step, `plastic` the number of plastic layers."""
    pathway = Direct(
        teaching="error", nonlinearity=nonlinearity, gate=gate, feedback=feedback, readout=readout,
        strength=1.0, learn_strength=False,
    )  # fmt: skip
    rule = LearningRule(pathway, RULES[plasticity](rate=rate, per=per, scale=scale))
    return OnlineLearner(
        problem.network(),
        rule,
        objective_for(problem.spec),
        plastic=plastic or problem.plastic,
    )


def rates(problem: Problem) -> dict[str, float]:
    """A log-scaled rate moves by about 3 % a meta-step."""
    return {"weights": 2e-3, "feedback": 2e-3, "plasticity": 3e-2, "strength": 1e-3}
