"""Codes that are kept are the encoder's, and each is computed but once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metaplastic import CrossEntropy, Direct, LearningRule, Oja, OnlineLearner
from metaplastic.evaluate.code_cache import codes_kept


class Counting(nn.Module):
    """An encoder that counts the inputs it encodes."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.inputs = nn.Linear(4, 3), 0

    def forward(self, x: Tensor) -> Tensor:
        self.inputs += len(x)
        out: Tensor = self.inner(x)
        return out


def learner(encoder: nn.Module | None) -> OnlineLearner:
    rule = LearningRule(Direct(), Oja(rate=0.1))
    network = nn.Sequential(nn.Linear(3, 2))
    return OnlineLearner(network, rule, CrossEntropy(2), encoder=encoder).eval()


def test_no_input_is_encoded_twice_while_the_context_lasts() -> None:
    encoder = Counting()
    made, x = learner(encoder), torch.randn(6, 4)
    again = torch.cat([x[3:], torch.randn(2, 4), x[:1], x[:1]])
    expected = made.encode(again)
    encoder.inputs = 0
    with codes_kept(made), torch.no_grad():
        made.encode(x)
        assert torch.allclose(made.encode(again), expected, atol=1e-6)
        assert encoder.inputs == 8
    assert made.encoder is encoder
    made.encode(x)
    assert encoder.inputs == 14


def test_where_a_gradient_is_recorded_nothing_is_kept() -> None:
    encoder = Counting()
    made, x = learner(encoder), torch.randn(6, 4)
    with codes_kept(made):
        made.encode(x).sum().backward()
        made.encode(x)
    assert encoder.inputs == 12
    assert encoder.inner.weight.grad is not None


def test_a_learner_without_an_encoder_is_left_alone() -> None:
    made = learner(None)
    with codes_kept(made):
        assert made.encoder is None
