"""Codes that are kept are the encoder's, and it is asked for each but once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metaplastic import CrossEntropy, Direct, LearningRule, Oja, OnlineLearner
from metaplastic.evaluate.code_cache import codes_kept


class Asked(nn.Module):
    """Counts the inputs that it encodes."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.inputs = nn.Linear(4, 3), 0

    def forward(self, x: Tensor) -> Tensor:
        self.inputs += len(x)
        out: Tensor = self.inner(x)
        return out


def test_no_input_is_encoded_twice_while_the_context_lasts() -> None:
    encoder = Asked()
    rule = LearningRule(Direct(), Oja(rate=0.1))
    network = nn.Sequential(nn.Linear(3, 2))
    learner = OnlineLearner(network, rule, CrossEntropy(2), encoder=encoder).eval()
    x = torch.randn(6, 4)
    again = torch.cat([x[3:], torch.randn(2, 4), x[:1], x[:1]])
    expected = learner.encode(again)
    encoder.inputs = 0
    with codes_kept(learner), torch.no_grad():
        learner.encode(x)
        assert torch.allclose(learner.encode(again), expected, atol=1e-6)
        assert encoder.inputs == 8
    assert learner.encoder is encoder
    learner.encode(x)
    assert encoder.inputs == 14


def test_where_a_gradient_is_recorded_nothing_is_kept() -> None:
    encoder = Asked()
    rule = LearningRule(Direct(), Oja(rate=0.1))
    network = nn.Sequential(nn.Linear(3, 2))
    learner = OnlineLearner(network, rule, CrossEntropy(2), encoder=encoder).eval()
    x = torch.randn(6, 4)
    with codes_kept(learner):
        learner.encode(x).sum().backward()
        learner.encode(x)
    assert encoder.inputs == 12
    assert encoder.inner.weight.grad is not None


def test_a_learner_without_an_encoder_is_left_alone() -> None:
    rule = LearningRule(Direct(), Oja(rate=0.1))
    learner = OnlineLearner(nn.Sequential(nn.Linear(3, 2)), rule, CrossEntropy(2))
    with codes_kept(learner):
        assert learner.encoder is None
