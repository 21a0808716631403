"""What a network cannot learn from is refused in a sentence, before any weight has changed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from metaplastic import PlasticModule


def mlp(outputs: int = 5) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, outputs))


TARGETS: dict[str, tuple[int, Any, str]] = {
    "no axis of outputs": (1, torch.zeros(6), r"shape \(6,\), but .* shape \(6, 1\)"),
    "one output for five": (5, torch.zeros(6, 1), r"shape \(6, 1\), but .* shape \(6, 5\)"),
    "real labels": (5, torch.zeros(6), r"float32 of shape \(6,\).* whole numbers"),
    "too few labels": (5, torch.zeros(5).long(), r"int64 of shape \(5,\).* \(6, 5\)"),
    "whole numbers for each output": (5, torch.zeros(6, 5).long(), r"\(6, 5\);.*y\.float"),
    "labels above the outputs": (5, torch.full((6,), 5), "go from 5 to 5, but there are 5 outputs"),
    "labels below 0": (5, torch.full((6,), -100), "go from -100 to -100"),
    "labels of one output": (1, torch.tensor([0, 1] * 3), "go from 0 to 1, but there are 1"),
    "a list": (5, [0] * 6, r"a list;.*torch\.as_tensor"),
    "complex numbers": (5, torch.zeros(6, 5, dtype=torch.complex64), "complex64;.*real numbers"),
}


@pytest.mark.parametrize(("outputs", "y", "sentence"), TARGETS.values(), ids=TARGETS.keys())
def test_a_target_that_does_not_fit_is_refused_and_another_may_be_given(
    outputs: int, y: Any, sentence: str
) -> None:
    x, model = torch.randn(6, 4), mlp(outputs)
    net = PlasticModule(model, "fa", example=x)
    net(x)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=sentence):
        net.learn(y)
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())
    net.learn(torch.zeros(6, outputs))
    assert not torch.equal(before["0.weight"], model[0].weight)


@pytest.mark.parametrize("kind", [torch.int32, torch.uint8, torch.bool])
def test_labels_may_be_whole_numbers_of_any_kind(kind: torch.dtype) -> None:
    x, y = torch.randn(6, 4), torch.tensor([0, 1, 1, 0, 1, 0])
    models = [mlp(), mlp()]
    for model, labels in zip(models, (y, y.to(kind)), strict=True):
        net = PlasticModule(model, "fa", example=x)
        net(x)
        net.learn(labels)
    assert torch.equal(models[0][0].weight, models[1][0].weight)


def test_every_place_of_a_picture_may_have_a_label() -> None:
    x = torch.randn(2, 3, 4, 4)
    net = PlasticModule(nn.Conv2d(3, 5, 1), "bp", example=x)
    net(x)
    assert net.learn(torch.full((2, 4, 4), 4)).isfinite()
