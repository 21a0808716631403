"""The networks of the presets are the published ones where they claim to be."""

from __future__ import annotations

import pytest
from torch import nn

from experiments.lab.networks.problem import Problem
from experiments.lab.settings.registry import ConfigError
from metaplastic.episode import StreamSpec


def spec(kind: str, shape: tuple[int, ...], outputs: int) -> StreamSpec:
    return StreamSpec(
        name="made", kind=kind, input_shape=shape, outputs=outputs, steps=1, batch=1, queries=1,
        subtasks=1, fingerprint="made up",
    )  # type: ignore[arg-type]  # fmt: skip


def numbers(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_papers_sine_net_has_as_many_weights_as_the_published_one() -> None:
    assert numbers(Problem(spec("regression", (11,), 1), "paper").network()) == 996_601


def test_the_papers_omniglot_net_ends_in_1152_128_1000() -> None:
    network = Problem(spec("classification", (1, 84, 84), 1000), "paper").network()
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    assert [tuple(layer.weight.shape) for layer in linear] == [(128, 1152), (1000, 128)]
    strides = [layer.stride[0] for layer in network if isinstance(layer, nn.Conv2d)]
    assert strides == [2, 1, 2, 1, 2, 2]


def test_photographs_have_256_channels_at_paper_size() -> None:
    network = Problem(spec("classification", (3, 84, 84), 1000), "paper").network()
    convolutions = [layer for layer in network if isinstance(layer, nn.Conv2d)]
    assert {layer.out_channels for layer in convolutions} == {256}


def test_images_that_the_paper_net_shrinks_to_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="28 x 28 are too small for the paper network"):
        Problem(spec("classification", (1, 28, 28), 5), "paper").network()
