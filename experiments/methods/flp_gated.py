"""FLP in the form that works: the error itself at the readout, linear and gated feedback, log rates.

Three departures from the published form, each an option of its own: feedback is not rectified, so
a hidden unit can hear that it should do less; it reaches only units that are active, so it does
not move weights that cannot have caused the error; and rates are log-scaled, so a meta-step
changes them by a fraction and never turns a stable rule into a diverging one.
"""

from __future__ import annotations

from typing import Literal

from experiments.problem import Problem
from metaplastic import (
    Delta,
    Direct,
    Hebb,
    LearningRule,
    Oja,
    OnlineLearner,
    StableOja,
    objective_for,
)

RULES = {"hebb": Hebb, "oja": Oja, "stable_oja": StableOja, "delta": Delta}


def build(
    problem: Problem,
    *,
    plasticity: Literal["hebb", "oja", "stable_oja", "delta"] = "hebb",
    feedback: Literal["learned", "random", "none"] = "learned",
    nonlinearity: Literal["linear", "relu"] = "linear",
    gate: Literal["derivative", "none"] = "derivative",
    per: Literal["synapse", "neuron", "feature", "layer", "shared"] = "synapse",
    scale: Literal["log", "raw"] = "log",
    rate: float = 3e-3,
    plastic: int | None = None,
) -> OnlineLearner:
    """`rate` is the plasticity at the first meta-step, `plastic` the number of plastic layers."""
    pathway = Direct(
        teaching="error", nonlinearity=nonlinearity, gate=gate, feedback=feedback,
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
