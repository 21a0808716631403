"""Readouts that compare, against the formulas written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metaplastic import (
    Backprop,
    CrossEntropy,
    Delta,
    Direct,
    Hebb,
    Initialization,
    LearningRule,
    Oja,
    OnlineLearner,
)
from metaplastic.stacked.readouts import CosineReadout, Counted, Gain, NearestMean, UnitLength
from tests.helpers.lifetimes import episodes


def taught(head: nn.Module, plasticity: Hebb | Oja, *before: nn.Module) -> OnlineLearner:
    network = nn.Sequential(*before, head)
    rule = LearningRule(Direct(strength=1.0, learn_strength=False), plasticity)
    return OnlineLearner(
        network, rule, CrossEntropy(3), initialization=Initialization(readout="zeroed")
    ).double()  # fmt: skip


def answers(made: OnlineLearner) -> tuple[Tensor, np.ndarray, np.ndarray, np.ndarray]:
    """Of one lifetime: the predictions, the support set and its labels, and the queries."""
    episode = episodes(outputs=3, shape=(5,), tasks=1, steps=12, batch=1, queries=4)
    with torch.no_grad():
        prediction = made(episode).prediction[0]
    x, y, q = episode.support_x[0, :, 0], episode.support_y[0, :, 0], episode.query_x[0]
    return prediction, x.numpy(), y.numpy(), q.numpy()


def test_nearest_mean_is_the_nearest_class_mean() -> None:
    head = NearestMean(6, 3)
    prediction, x, y, q = answers(taught(head, Hebb(rate=1.0, per="layer"), Counted()))
    for k in range(3):
        mean = x[y == k].mean(0)
        assert np.allclose(prediction[:, k], -((q - mean) ** 2).sum(1), atol=1e-12)


def test_a_mean_of_nothing_is_never_the_nearest() -> None:
    head = NearestMean(6, 3)
    answer = head.answer(torch.randn(4, 6), torch.zeros(3, 6))
    assert (answer < -9999).all()


def test_the_cosine_readout_predicts_cosines() -> None:
    head = CosineReadout(5, 3)
    made = taught(head, Hebb(rate=0.7, per="layer"), UnitLength())
    prediction, x, y, q = answers(made)
    x, q = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, q))
    for k in range(3):
        total = x[y == k].sum(0)
        assert np.allclose(prediction[:, k], q @ total / np.linalg.norm(total), atol=1e-12)


def test_a_row_of_zeros_predicts_zero_and_has_a_gradient() -> None:
    head = CosineReadout(5, 3).double()
    weight = torch.zeros(3, 5, dtype=torch.float64, requires_grad=True)
    answer = head.answer(torch.randn(4, 5).double(), weight)
    answer.sum().backward()
    assert weight.grad is not None
    assert not answer.any()
    assert weight.grad.isfinite().all()


@pytest.mark.parametrize("head", [CosineReadout(4, 3), NearestMean(4, 3)])
def test_the_exact_gradient_through_a_comparison_is_refused(head: nn.Module) -> None:
    with pytest.raises(ValueError, match="not a product of input and weight"):
        OnlineLearner(nn.Sequential(head), LearningRule(Backprop(), Delta()), CrossEntropy(3))


def test_a_comparison_that_learns_nothing_is_a_module_like_others() -> None:
    head = CosineReadout(4, 3)
    x = torch.randn(2, 4)
    weight = head.weight / head.weight.norm(dim=1, keepdim=True)
    assert torch.allclose(head(x), x @ weight.T, atol=1e-6)


def test_a_gain_starts_as_given_and_stays_positive() -> None:
    gain = Gain(16.0)
    assert torch.allclose(gain(torch.ones(2)), torch.full((2,), 16.0))
    with pytest.raises(ValueError, match="above 0"):
        Gain(0.0)
