"""ANML: a neuromodulatory network gates the features of the readout, and so its plasticity.

Beaulieu et al. (2020). The gate multiplies each feature by a number between 0 and 1, which scales
the activity and, with it, the gradient of every synapse that starts there. Here only the readout is
plastic in meta-training too, as at their test; in theirs all layers of the gated network are. Meta-
gradients are exact, where the released code's are first order.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from experiments.lab.networks.problem import MANY_CLASSES, Problem
from experiments.lab.settings.config import Preset
from experiments.methods import flp_stable
from experiments.methods.oml import rates
from metaplastic import Backprop, Delta, Initialization, LearningRule, OnlineLearner, objective_for

__all__ = ["build", "rates", "stream"]


class Gated(nn.Module):
    """`features(x) * sigmoid(gate(x))`."""

    def __init__(self, features: nn.Sequential, gate: nn.Sequential) -> None:
        super().__init__()
        self.features, self.gate = features, gate
        self.options = {"features": features, "gate": gate}

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x) * self.gate(x).sigmoid()  # type: ignore[no-any-return]


def build(problem: Problem, *, second_order: bool = True, rate: float = 0.1) -> OnlineLearner:
    """`rate` is the published inner rate, here the initial value of a learned one."""
    *features, readout = problem.network()
    *gate_layers, _ = problem.network()
    assert isinstance(readout, nn.Linear)
    gate = gate_layers[:-1]  # without the rectifier, so that a gate can close
    classes = problem.classification
    return OnlineLearner(
        nn.Sequential(readout),
        LearningRule(
            Backprop(second_order=second_order), Delta(rate=rate, per="feature", scale="log")
        ),
        objective_for(problem.spec),
        encoder=Gated(nn.Sequential(*features), nn.Sequential(*gate)),
        initialization=Initialization(readout="rows") if classes else None,
        initialization_at_test=Initialization(readout="redrawn")
        if problem.classification
        else None,
    )


def stream(task: str, size: Preset) -> dict[str, Any]:
    """One class per lifetime; queries are of it and of 64 images of other classes.

    At laptop size as `oml`, for the same reason.
    """
    if task not in MANY_CLASSES or size == "laptop":
        return flp_stable.stream(task, size)
    one = {"labels": "global", "slots": None, "ways": 1, "queries_per_class": 5}
    return (
        {**one, "shots": 15, "remember": 64}
        if size != "tiny"
        else {**one, "shots": 2, "remember": 4}
    )
