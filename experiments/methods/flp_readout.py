"""FLP's gated form with the readout as the only plastic layer: what hidden plasticity is worth."""

from __future__ import annotations

from experiments.methods import flp_gated
from experiments.methods.flp_gated import rates
from experiments.problem import Problem
from metaplastic import OnlineLearner

__all__ = ["build", "rates"]


def build(problem: Problem) -> OnlineLearner:
    return flp_gated.build(problem, plastic=1)
