"""Descriptions: objects as JSON and back, and nothing that could do more than be built."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import metaplastic.support.describe as describing
from metaplastic import Initialization
from metaplastic.support.describe import LAYERS, DescriptionError, build, describe

EXAMPLES: list[nn.Module] = [
    nn.Linear(3, 4, bias=False), nn.Conv1d(2, 4, 3, dilation=2),
    nn.Conv2d(2, 4, (3, 1), stride=2, padding="valid", groups=2), nn.GroupNorm(2, 4, eps=1e-3),
    nn.LayerNorm((3, 4), elementwise_affine=False), nn.BatchNorm1d(3, momentum=None),
    nn.BatchNorm2d(3, affine=False), nn.ReLU(inplace=True), nn.LeakyReLU(0.3), nn.ELU(0.5),
    nn.SiLU(), nn.GELU("tanh"), nn.Tanh(), nn.Sigmoid(), nn.Softplus(2.0), nn.Identity(),
    nn.Flatten(2), nn.Unflatten(1, (2, 3)), nn.MaxPool1d(2), nn.MaxPool2d(3, stride=2),
    nn.AvgPool1d(2), nn.AvgPool2d(2, ceil_mode=True), nn.AdaptiveAvgPool1d(2),
    nn.AdaptiveAvgPool2d((1, None)), nn.AdaptiveMaxPool2d(2), nn.Dropout(0.3), nn.Dropout2d(0.4),
]  # fmt: skip


@pytest.mark.parametrize("layer", EXAMPLES, ids=lambda layer: type(layer).__name__)
def test_a_torch_layer_comes_back_with_its_arguments(layer: nn.Module) -> None:
    again = build(json.loads(json.dumps(describe(layer))))
    assert repr(again) == repr(layer)
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in layer.state_dict().items()
    }


def test_every_layer_that_is_allowed_is_tried() -> None:
    assert {type(layer) for layer in EXAMPLES} == set(LAYERS)


def test_names_and_nesting_of_a_sequential_survive() -> None:
    network = nn.Sequential()
    network.add_module("first", nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    network.add_module("readout", nn.Linear(2, 1))
    assert repr(build(json.loads(json.dumps(describe(network))))) == repr(network)


def test_a_layer_used_twice_is_described_twice() -> None:
    phi = nn.ReLU()
    network = nn.Sequential(nn.Linear(2, 2), phi, nn.Linear(2, 2), phi, nn.Linear(2, 1))
    assert len(build(describe(network))) == 5


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        0.1,
        float("inf"),
        "x",
        [1, (2, [3])],
        {"a": (1, 2)},
        Initialization(readout="rows"),
    ],
)
def test_plain_values_survive_with_their_types(value: object) -> None:
    assert build(json.loads(json.dumps(describe(value), allow_nan=False))) == value


@dataclass
class Mutable:
    number: int = 1


@pytest.mark.parametrize("value", [Mutable(), object(), torch.float32, len, torch.zeros(2)])
def test_what_is_not_plain_has_no_description(value: object) -> None:
    with pytest.raises(DescriptionError, match="cannot be described"):
        describe(value)


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        ({"kind": "os.system", "options": {"command": "true"}}, "'os.system' is unknown"),
        ({"kind": "torch.nn.Liner", "options": {}}, "Did you mean 'torch.nn.Linear'"),
        ({"kind": "torch.nn.Linear", "options": {"in": 3}}, "cannot be built as described"),
        ({"something": "else"}, "is not a description"),
    ],
)
def test_a_description_can_only_build_what_is_known(description: object, sentence: str) -> None:
    with pytest.raises(DescriptionError, match=sentence):
        build(description)


def test_a_norm_of_a_newer_torch_is_built_where_it_has_no_option_for_its_bias(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Older(nn.GroupNorm):
        def __init__(self, num_groups: int, num_channels: int, eps: float, affine: bool) -> None:
            super().__init__(num_groups, num_channels, eps, affine)

    described = describe(nn.GroupNorm(2, 4))
    assert described["options"]["bias"] is True
    kinds = {**describing.known(), "torch.nn.GroupNorm": Older}
    monkeypatch.setattr(describing, "known", lambda classes=(): kinds)
    assert isinstance(build(described), Older)
