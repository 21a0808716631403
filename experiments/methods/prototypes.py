"""Prototypical networks: nearest class mean on a meta-learned encoder.

Snell, Swersky & Zemel (2017), on features of unit length. As a rule it is Hebbian learning at
rate 1 from zero, which sums and counts the examples of each class (`NearestMean`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from experiments.lab.networks.problem import Problem
from experiments.methods.flp_readout import stream
from metaplastic import (
    Direct,
    Hebb,
    Initialization,
    LearningRule,
    OnlineLearner,
    Unroll,
    objective_for,
)

__all__ = ["build", "rates", "stream"]


def build(
    problem: Problem,
    *,
    head: Literal["mean", "cosine"] = "mean",
    channels: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> OnlineLearner:
    """`channels` and `strides` are those of the convolutions."""
    problem = replace(problem, channels=channels, strides=strides)
    rule = LearningRule(
        Direct(teaching="label", strength=1.0, learn_strength=False),
        Hebb(rate=1.0, per="layer", learn=False),
    )
    return OnlineLearner(
        problem.network(head, hidden="linear"),
        rule,
        objective_for(problem.spec),
        plastic=1,
        initialization=Initialization(readout="zeroed"),
        unroll=Unroll(both_ways=problem.many_classes),
    )


def rates(problem: Problem) -> dict[str, float]:
    return {"weights": 1.5e-3}
