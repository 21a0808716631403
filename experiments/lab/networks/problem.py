"""The network that every method of a comparison gets, by task and size.

One plain `nn.Sequential` for all methods: what differs between them is which of its sites learn
within a lifetime, and by which rule.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from torch import nn

from experiments.lab.settings.config import Preset
from experiments.lab.settings.registry import ConfigError
from metaplastic import StreamSpec
from metaplastic.stacked.readouts import CosineReadout, Counted, Gain, NearestMean, UnitLength

# Hidden widths of the sine networks. The paper's is the nine-layer net of both FLP and OML.
SINE_WIDTHS = {
    "laptop": (100, 100, 100),
    "paper": (300, 300, 300, 300, 300, 900, 300, 300),
    "tiny": (16, 16),
}  # fmt: skip


@dataclass(frozen=True)
class Encoder:
    """3x3 convolutions, one a stride; `hidden` is the width of the layer after them."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    hidden: int


ENCODERS = {
    "laptop": Encoder((64,) * 4, (2,) * 4, 128),
    "paper": Encoder((128,) * 6, (2, 1, 2, 1, 2, 2), 128),
    "tiny": Encoder((8, 8), (2, 2), 16),
}
# Streams of hundreds of classes, for which codes of more numbers are worth their time.
MANY_CLASSES = ("split_omniglot", "caltech101")
MANY = {**ENCODERS, "laptop": Encoder((32, 64, 128, 256), (2,) * 4, 256)}
MAP = 2  # height and width of the map that larger images are averaged to there
GAIN = 16.0  # of cosines before a softmax, at the first meta-step

Head = Literal["linear", "cosine", "mean"]
Hidden = Literal["relu", "linear", "none"]


@dataclass(frozen=True)
class Problem:
    """A stream's spec and the size of the network for it."""

    spec: StreamSpec
    size: Preset
    channels: tuple[int, ...] | None = None  # of the convolutions, in place of the preset's
    strides: tuple[int, ...] | None = None  # likewise

    @property
    def classification(self) -> bool:
        return self.spec.kind == "classification"

    @property
    def plastic(self) -> int | None:
        """How many sites at the end learn: the last two; at paper size all of the sine net."""
        return None if self.size == "paper" and not self.classification else 2

    @property
    def many_classes(self) -> bool:
        return self.spec.name in MANY_CLASSES

    @property
    def encoder(self) -> Encoder:
        encoder = (MANY if self.many_classes else ENCODERS)[self.size]
        if self.size == "paper" and self.spec.input_shape[0] == 3:
            # Photographs have twice the channels there.
            encoder = replace(encoder, channels=tuple(2 * units for units in encoder.channels))
        if self.strides is not None:
            if any(stride not in (1, 2) for stride in self.strides):
                raise ConfigError(f"strides={_listed(self.strides)}: a convolution has 1 or 2.")
            encoder = replace(encoder, strides=self.strides)
        if self.channels is not None:
            encoder = replace(encoder, channels=self.channels)
        if len(encoder.channels) != len(encoder.strides) or any(n % 8 for n in encoder.channels):
            raise ConfigError(
                f"channels={_listed(encoder.channels)}: the {self.size} network has "
                f"{len(encoder.strides)} convolutions, by its strides={_listed(encoder.strides)}; "
                "give each a multiple of 8."
            )
        return encoder

    def network(self, head: Head = "linear", hidden: Hidden = "relu") -> nn.Sequential:
        """A fresh network, Kaiming-normal weights and zero biases, as in the reference code.

        `head`: a Linear, or one that compares: by the cosine with features of unit length, or by
        the distance from the mean of what a class was taught. `hidden`: a rectified layer between
        convolutions and head; a `linear` one, a code that may take either sign; or `none`.
        """
        outputs = self.spec.outputs
        if head != "linear" and not self.classification:
            raise ConfigError(
                f"a {head} head is for classification, and task {self.spec.name!r} is "
                "regression: use a method with a linear head, such as flp_readout or oml."
            )
        match len(self.spec.input_shape):
            case 1:
                layers, features = self._dense_layers(hidden)
            case 3:
                layers, features = self._image_layers(hidden)
            case _:
                raise ConfigError(
                    f"an input of task {self.spec.name!r} has shape {self.spec.input_shape}: the "
                    "methods here take vectors (1 axis) or images (channels height width)."
                )
        match head:
            case "linear":
                layers.append(nn.Linear(features, outputs))
            case "cosine":
                layers += [UnitLength(), CosineReadout(features, outputs), Gain(GAIN)]
            case "mean":
                layers += [UnitLength(), Counted(), NearestMean(features + 1, outputs), Gain(GAIN)]
        for layer in layers:
            if isinstance(layer, nn.Linear | nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        return nn.Sequential(*layers)

    def _dense_layers(self, hidden: Hidden) -> tuple[list[nn.Module], int]:
        widths = (*self.spec.input_shape, *SINE_WIDTHS[self.size])
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        if self.classification and hidden != "relu":  # a code that may take either sign
            layers.pop()
        return layers, widths[-1]

    def _image_layers(self, hidden: Hidden) -> tuple[list[nn.Module], int]:
        channels, height, width = self.spec.input_shape
        # The published net pads nothing and normalizes nothing; small ones learn faster with both.
        padding = 0 if self.size == "paper" else 1
        layers: list[nn.Module] = []
        for units, stride in zip(self.encoder.channels, self.encoder.strides, strict=True):
            layers.append(nn.Conv2d(channels, units, 3, stride, padding))
            if self.size != "paper":
                layers.append(nn.GroupNorm(8, units))
            layers.append(nn.ReLU())
            channels = units
            height, width = ((n + 2 * padding - 3) // stride + 1 for n in (height, width))
            if min(height, width) < 1:
                raise ConfigError(
                    f"images of {self.spec.input_shape[1]} x {self.spec.input_shape[2]} are too "
                    f"small for the {self.size} network: use --preset laptop, or larger images."
                )
        if self.many_classes and min(height, width) > MAP:
            layers.append(nn.AdaptiveAvgPool2d(MAP))
            height = width = MAP
        layers.append(nn.Flatten())
        features = channels * height * width
        if hidden == "none":
            return layers, features
        layers.append(nn.Linear(features, self.encoder.hidden))
        if hidden == "relu":
            layers.append(nn.ReLU())
        return layers, self.encoder.hidden


def _listed(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))
