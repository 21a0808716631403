"""A plasticity rule with few shared coefficients: new weights and feedback in every lifetime.

Shervani-Tabar & Rosenbaum (2023). Weights and feedback are resampled in every lifetime, so only
the coefficients of the rule are learned. The network is similar to theirs: fully
connected, softplus(10 z) / 10, no biases, weights of the paper's widths at paper size; it has as
many outputs as the stream where theirs has 47, and weights are drawn Kaiming-normal, not Xavier.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Any, Literal

from torch import nn

from experiments.lab.networks.problem import Problem
from experiments.lab.settings.config import Preset
from metaplastic import (
    Backprop,
    FeedbackPathway,
    Initialization,
    LearningRule,
    OnlineLearner,
    RandomDirect,
    objective_for,
)
from metaplastic.pathways.sequential import RandomFeedback
from metaplastic.plasticity.polynomial import Polynomial
from metaplastic.plasticity.terms import POOL

WIDTHS = {"laptop": (100, 80, 60, 40), "paper": (170, 130, 100, 70), "tiny": (12, 8)}
SHARPNESS = 10.0  # of softplus


def build(
    problem: Problem,
    *,
    terms: tuple[str, ...] = POOL,
    rate: float = 0.02,
    l1: float = 1e-3,
    feedback: Literal["redrawn", "fixed", "learned", "gradient", "direct"] = "redrawn",
    normalized: bool = False,
    widths: tuple[int, ...] | None = None,
) -> OnlineLearner:
    """`terms` are those of `metaplastic.plasticity.polynomial`; `rate` is the first value of
    `signal_pre`, or of the first term where that is not among them. `l1` is the price on
    coefficients. `feedback`: random weights that are redrawn in each lifetime, drawn once, or
    learned; `gradient` backpropagates errors exactly, `direct` delivers them to every site by
    resampled matrices. `normalized` makes steps relative: activity is in units of a site's inputs,
    and random feedback scales every signal to the length of the error. `widths` are
    those of the hidden layers, in place of the preset's.
    """
    started = "signal_pre" if "signal_pre" in terms else terms[0]
    pathway: FeedbackPathway
    if feedback == "gradient":
        pathway = Backprop()
    elif feedback == "direct":
        pathway = RandomDirect(weights="redrawn", level=normalized)
    else:
        pathway = RandomFeedback(weights=feedback, level=normalized)
    return OnlineLearner(
        network(problem, widths or WIDTHS[problem.size]),
        LearningRule(
            pathway, Polynomial(terms, first={started: rate}, l1=l1, normalized=normalized)
        ),
        objective_for(problem.spec),
        initialization=Initialization(hidden="redrawn", readout="redrawn"),
    )


def network(problem: Problem, widths: tuple[int, ...]) -> nn.Sequential:
    """Fully connected layers of these hidden widths, without biases."""
    spec = problem.spec
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise((prod(spec.input_shape), *widths, spec.outputs)):
        layers += [nn.Linear(fan_in, fan_out, bias=False), nn.Softplus(SHARPNESS)]
    return nn.Sequential(*layers[:-1])


def rates(problem: Problem) -> dict[str, float]:
    """Smaller than the published 1e-3, at which rules diverge here.

    Weights have rate 0, since every lifetime resamples them.
    """
    return {"weights": 0.0, "feedback": 1e-3, "plasticity": 2e-4}


def stream(task: str, size: Preset) -> dict[str, Any]:
    """Five classes, as at test."""
    return {"ways": 5, "slots": 5} if size != "tiny" and task != "sines" else {}
