"""FLP's stable form with the exact gradient as signal: a control for feedback pathways."""

from __future__ import annotations

from experiments.lab.networks.problem import Problem
from experiments.methods import flp_stable
from experiments.methods.flp_stable import rates, stream
from metaplastic import OnlineLearner

__all__ = ["build", "rates", "stream"]


def build(problem: Problem) -> OnlineLearner:
    return flp_stable.build(problem, feedback="gradient")
