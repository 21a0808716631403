"""A learner without meta-training: the nearest class mean of its raw inputs."""

from __future__ import annotations

from torch import nn

from metaplastic import Direct, Hebb, Initialization, LearningRule, OnlineLearner, objective_for
from metaplastic.episode import StreamSpec
from metaplastic.stacked.readouts import Counted, Gain, NearestMean


def nearest_mean(spec: StreamSpec) -> OnlineLearner:
    """Hebb's rule at rate 1 from zero, which sums and counts the examples of each class."""
    size = 1
    for length in spec.input_shape:
        size *= length
    return OnlineLearner(
        nn.Sequential(nn.Flatten(), Counted(), NearestMean(size + 1, spec.outputs), Gain(1.0)),
        LearningRule(
            Direct(teaching="label", strength=1.0, learn_strength=False),
            Hebb(rate=1.0, per="layer", learn=False),
        ),
        objective_for(spec),
        plastic=1,
        initialization=Initialization(readout="zeroed"),
    )
