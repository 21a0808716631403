"""OML with first-order meta-gradients, as OML's code before July 2020, FLP's baseline and ANML ran.

Each inner gradient is a constant for the outer loop. An ablation of the second-order terms.
"""

from __future__ import annotations

from experiments.lab.networks.problem import Problem
from experiments.methods import oml
from experiments.methods.oml import rates, stream
from metaplastic import OnlineLearner

__all__ = ["build", "rates", "stream"]


def build(problem: Problem, *, rate: float | None = None) -> OnlineLearner:
    return oml.build(problem, second_order=False, rate=rate)
