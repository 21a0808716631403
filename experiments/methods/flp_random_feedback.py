"""FLP's stable form with feedback weights that stay as drawn: what learning them is worth."""

from __future__ import annotations

from experiments.methods import flp_stable
from experiments.methods.flp_stable import rates, stream
from experiments.problem import Problem
from metaplastic import OnlineLearner

__all__ = ["build", "rates", "stream"]


def build(problem: Problem) -> OnlineLearner:
    return flp_stable.build(problem, feedback="random")
