"""MAML-Rep: OML's network and lifetimes, but a few steps on all examples at once in meta-training.

The baseline of Javed & White (2019) without interference while its representation is learned; a
control for online learning in OML's meta-training. At test it learns online as OML does.
"""

from __future__ import annotations

from experiments.lab.networks.problem import Problem
from experiments.methods.oml import rates, stream
from metaplastic import Backprop, Delta, Initialization, LearningRule, OnlineLearner, objective_for
from metaplastic.plasticity.base import Granularity

__all__ = ["build", "rates", "stream"]


def build(problem: Problem, *, passes: int = 5, rate: float = 0.03) -> OnlineLearner:
    """`passes` is the number of steps on the whole support, `rate` the first inner rate."""
    per: Granularity = "feature" if problem.many_classes else "synapse"
    redraw = problem.classification
    return OnlineLearner(
        problem.network(),
        LearningRule(Backprop(), Delta(rate=rate, per=per, scale="log")),
        objective_for(problem.spec),
        plastic=problem.plastic,
        initialization=Initialization(readout="rows") if redraw else None,
        initialization_at_test=Initialization(readout="redrawn") if redraw else None,
        passes=passes,
        batch_learning=True,
        online_at_test=True,
    )
