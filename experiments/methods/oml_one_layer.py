"""OML with readout-only plasticity, as in its later code, after ANML."""

from __future__ import annotations

from experiments.lab.networks.problem import Problem
from experiments.methods import oml
from experiments.methods.oml import rates, stream
from metaplastic import OnlineLearner

__all__ = ["build", "rates", "stream"]


def build(problem: Problem, *, second_order: bool = True) -> OnlineLearner:
    return oml.build(problem, second_order=second_order, plastic=1)
