"""Ordinary pretraining, then online SGD of the readout: no meta-learning at all.

An encoder and a readout of all training classes are trained to classify; at test the readout is
resampled and learns by the gradient. The baseline of OML, ANML and GeMCL.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from experiments.lab.networks.problem import Problem
from experiments.lab.settings.config import Preset
from metaplastic import Backprop, Delta, Initialization, LearningRule, OnlineLearner, objective_for

HEAD = 0.1  # of Kaiming's scale: larger logits of thousands of classes make hidden units inactive


def build(problem: Problem, *, rate: float = 0.03) -> OnlineLearner:
    """`rate` is that of the online steps at test."""
    network = problem.network(hidden="linear")
    head = network[-1]
    if problem.classification and isinstance(head, nn.Linear):
        with torch.no_grad():
            head.weight *= HEAD
    rule = LearningRule(
        Backprop(), Delta(rate=rate, per="layer", learn=False), frozen_in_training=True
    )
    return OnlineLearner(
        network,
        rule,
        objective_for(problem.spec),
        plastic=1,
        initialization_at_test=Initialization(readout="redrawn"),
    )


def rates(problem: Problem) -> dict[str, float]:
    return {"weights": 1.5e-3}


def stream(task: str, size: Preset) -> dict[str, Any]:
    """Minibatches of all classes; the single support example of a lifetime is not learned."""
    if task == "sines":
        return {}
    batch = 256 if size != "tiny" else 8
    one = {"ways": 1, "shots": 1, "queries_per_class": 1}
    return {"labels": "global", "slots": None, **one, "remember": batch - 1}
