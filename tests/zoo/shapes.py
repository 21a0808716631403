"""Every kind of convolution, in one, two and three dimensions: two of a kind and a readout."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from tests.zoo.entry import Entry, images, integers

FORWARD: dict[str, dict[str, Any]] = {
    "plain": {},
    "strided": {"stride": 2, "padding": 1},
    "grouped": {"groups": 2},
    "depthwise": {"groups": 4, "bias": False},
    "dilated": {"dilation": 2, "padding": 2},
    "same": {"dilation": 2, "padding": "same"},
    "zeros": {"padding": 1},
    "reflect": {"padding": 1, "padding_mode": "reflect", "stride": 2},
    "replicate": {"padding": 1, "padding_mode": "replicate"},
    "circular": {"padding": 2, "padding_mode": "circular", "groups": 2},
    "leaving a rest": {"stride": 3},
}
TRANSPOSED: dict[str, dict[str, Any]] = {
    "plain": {},
    "strided": {"stride": 2, "padding": 1, "output_padding": 1},
    "grouped": {"groups": 2, "bias": False},
    "dilated": {"dilation": 2, "padding": 1},
    "all at once": {"stride": 3, "padding": 2, "output_padding": 1, "dilation": 2, "groups": 2},
}
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
BACKWARDS = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MEANS = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


def two(kind: type[nn.Module], dimensions: int, options: dict[str, Any]) -> nn.Module:
    mean, width = MEANS[dimensions](2), 2**dimensions
    return nn.Sequential(
        kind(4, 4, 3, **options), nn.Tanh(), kind(4, 8, 3, **options), nn.Tanh(), mean,
        nn.Flatten(), nn.Linear(8 * width, 4),
    )  # fmt: skip


def entry(name: str, dimensions: int, kind: type[nn.Module], options: dict[str, Any]) -> Entry:
    size = (13, 9, 7)[dimensions - 1] if kind in CONVOLUTIONS.values() else 4
    if options.get("stride") == 3 and kind in CONVOLUTIONS.values():
        size = 15
    x = images(3, 4, *[size] * dimensions)
    return Entry(name, partial(two, kind, dimensions, options), integers(4, 3), (x,))


ENTRIES = [
    entry(f"{n}-d {word}, {kind}", n, modules[n], options)
    for n in CONVOLUTIONS
    for word, modules, table in (
        ("convolution", CONVOLUTIONS, FORWARD),
        ("transposed convolution", BACKWARDS, TRANSPOSED),
    )
    for kind, options in table.items()
]
