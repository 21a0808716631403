"""FLP's stable form without plasticity: an ablation in which nothing is learned in a lifetime."""

from __future__ import annotations

from experiments.lab.networks.problem import Problem
from experiments.methods import flp_stable
from experiments.methods.flp_stable import rates, stream
from metaplastic import OnlineLearner

__all__ = ["build", "rates", "stream"]


def build(problem: Problem) -> OnlineLearner:
    return flp_stable.build(problem, rate=0.0, scale="raw", learn_rate=False)
