"""Statistics of a rule are those of the rates that synapses have, and of its feedback."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from experiments.lab.runs.rule_statistics import rule_statistics
from metaplastic import Direct, Hebb, LearningRule, MeanSquaredError, OnlineLearner


def learner(scale: str) -> OnlineLearner:
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    rule = LearningRule(Direct(strength=0.5), Hebb(rate=0.01, scale=scale))  # type: ignore[arg-type]
    return OnlineLearner(network, rule, MeanSquaredError(2))


@pytest.mark.parametrize("scale", ["raw", "log", "bounded"])
def test_plasticity_is_the_rate_on_every_scale(scale: str) -> None:
    found = rule_statistics(learner(scale))
    assert found["rule/plasticity/layer 0/mean"] == pytest.approx(0.01)
    assert found["rule/plasticity/layer 2/q95"] == pytest.approx(0.01)


def test_feedback_is_measured_parameter_by_parameter() -> None:
    torch.manual_seed(0)
    subject = learner("raw")
    weight = dict(subject.named_parameters())["rule.pathway.pathways.0.0.weight"]
    found = rule_statistics(subject)
    assert found["rule/feedback/to layer 0, part 0 weight/norm"] == pytest.approx(
        weight.norm().item()
    )
    assert found["rule/strength/at layer 0/q50"] == 0.5
