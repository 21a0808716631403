"""FLP with hidden plasticity on the frozen encoder of a shipped learner.

Two layers on its features learn in a lifetime: a rectified hidden one, taught by learned feedback
of the label, and a readout that compares by the cosine, both by Oja's rule at a log-scaled rate for
each feature. Meta-training changes these two layers, their feedback and their rates, and leaves the
encoder as it was shipped.
"""

from __future__ import annotations

import torch
from torch import nn

from experiments.lab.networks.problem import GAIN, Problem
from experiments.lab.settings.registry import ConfigError
from metaplastic import (
    Direct,
    Initialization,
    LearningRule,
    Oja,
    OnlineLearner,
    from_pretrained,
    objective_for,
)
from metaplastic.evaluate.frozen_part import frozen_part
from metaplastic.evaluate.shift_averaging import ShiftAveraged
from metaplastic.stacked.readouts import CosineReadout, Gain, UnitLength


def build(
    problem: Problem,
    *,
    encoder: str = "omniglot_readout",
    units: int = 128,
    rate: float = 0.2,
    hidden: float = 1e-2,
) -> OnlineLearner:
    """`units` of the hidden layer; `rate` at the first meta-step, times `hidden` in that layer."""
    layers, features = _frozen(encoder, problem)
    first = nn.Linear(features, units, bias=False)
    readout = CosineReadout(units, problem.spec.outputs)
    nn.init.kaiming_normal_(first.weight)
    nn.init.kaiming_normal_(readout.weight)
    rule = LearningRule(
        Direct(teaching="label", nonlinearity="relu", strength=1.0, learn_strength=False),
        Oja(rate=rate, per="feature", scale="log"),
        hidden_multiplier=hidden,
    )
    head = [UnitLength(), first, nn.ReLU(), UnitLength(), readout, Gain(GAIN)]
    return OnlineLearner(
        nn.Sequential(*layers, *head),
        rule,
        objective_for(problem.spec),
        plastic=2,
        initialization=Initialization(readout="zeroed"),
    )


def rates(problem: Problem) -> dict[str, float]:
    """A log-scaled rate moves by about 3 % a meta-step."""
    return {"weights": 2e-3, "feedback": 2e-3, "plasticity": 3e-2, "strength": 1e-3}


def _frozen(name: str, problem: Problem) -> tuple[list[nn.Module], int]:
    """The layers of a shipped encoder, which do not change, and how many features they give."""
    task, shape = problem.spec.name, problem.spec.input_shape
    if not problem.classification:
        raise ConfigError(
            f"an encoder of images is for classification, and task {task!r} is regression: use "
            "flp_stable."
        )
    learner = from_pretrained(name)
    frozen = learner.encoder if learner.encoder is not None else frozen_part(learner)[0]
    frozen = frozen.encoder if isinstance(frozen, ShiftAveraged) else frozen
    if not isinstance(frozen, nn.Sequential) or not isinstance(frozen[-1], nn.Linear):
        raise ConfigError(
            f"encoder={name}: its frozen part does not end in a Linear; name a learner whose does, "
            "such as omniglot_readout."
        )
    try:
        frozen(torch.zeros(1, *shape))
    except RuntimeError as error:
        raise ConfigError(
            f"encoder={name}: it does not take the inputs of task {task!r}, of shape {shape}; "
            "choose a task of images as it was meta-trained on, or flp_stable."
        ) from error
    return list(frozen.requires_grad_(False)), frozen[-1].out_features
