"""The network that every method of a comparison gets, by task and size.

One plain `nn.Sequential` for all methods: what differs between them is which of its sites learn
within a lifetime, and by which rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from experiments.config import Preset
from experiments.registry import ConfigError
from metaplastic import StreamSpec

# Hidden widths of the sine networks. The paper's is the nine-layer net of both FLP and OML.
SINE_WIDTHS = {
    "laptop": (100, 100, 100),
    "paper": (300, 300, 300, 300, 300, 900, 300, 300),
    "tiny": (16, 16),
}  # fmt: skip
# Channels and strides of the image encoders, and the width of the plastic hidden layer.
CHANNELS = {"laptop": 64, "paper": 128, "tiny": 8}
STRIDES = {"laptop": (2, 2, 2, 2), "paper": (2, 1, 2, 1, 2, 2), "tiny": (2, 2)}
HIDDEN = {"laptop": 128, "paper": 128, "tiny": 16}


@dataclass(frozen=True)
class Problem:
    """A stream's spec and the size of the network to meet it with."""

    spec: StreamSpec
    size: Preset

    @property
    def classification(self) -> bool:
        return self.spec.kind == "classification"

    @property
    def plastic(self) -> int | None:
        """How many sites at the end learn: the last two; at paper size all of the sine net."""
        return None if self.size == "paper" and not self.classification else 2

    def network(self) -> nn.Sequential:
        """A fresh network, Kaiming-normal weights and zero biases, as in the reference code."""
        layers = self._image_layers() if self.classification else self._sine_layers()
        for layer in layers:
            if isinstance(layer, nn.Linear | nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        return nn.Sequential(*layers)

    def _sine_layers(self) -> list[nn.Module]:
        widths = (*self.spec.input_shape, *SINE_WIDTHS[self.size], self.spec.outputs)
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        return layers[:-1]

    def _image_layers(self) -> list[nn.Module]:
        channels, height, width = self.spec.input_shape
        wide = self.size == "paper" and channels == 3  # photographs have twice the channels there
        units = CHANNELS[self.size] * (2 if wide else 1)
        # The published net pads nothing and normalizes nothing; small ones learn faster with both.
        padding = 0 if self.size == "paper" else 1
        layers: list[nn.Module] = []
        for stride in STRIDES[self.size]:
            layers.append(nn.Conv2d(channels, units, 3, stride, padding))
            if self.size != "paper":
                layers.append(nn.GroupNorm(8, units))
            layers.append(nn.ReLU())
            channels = units
            height, width = ((n + 2 * padding - 3) // stride + 1 for n in (height, width))
            if min(height, width) < 1:
                raise ConfigError(
                    f"pictures of {self.spec.input_shape[1]} x {self.spec.input_shape[2]} are too "
                    f"small for the {self.size} network: use --preset laptop, or larger pictures."
                )
        hidden = HIDDEN[self.size]
        return [
            *layers, nn.Flatten(), nn.Linear(channels * height * width, hidden), nn.ReLU(),
            nn.Linear(hidden, self.spec.outputs),
        ]  # fmt: skip
