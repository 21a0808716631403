"""Nearest class mean by the cosine: prototypes as directions."""

from __future__ import annotations

from experiments.lab.networks.problem import Problem
from experiments.methods import prototypes
from experiments.methods.prototypes import rates, stream
from metaplastic import OnlineLearner

__all__ = ["build", "rates", "stream"]


def build(problem: Problem) -> OnlineLearner:
    return prototypes.build(problem, head="cosine")
