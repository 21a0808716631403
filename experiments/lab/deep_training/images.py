"""CIFAR-10 as bytes in memory, with random flips and crops of minibatches.

Two versions are at hand. `exact` has the very pixels of 8,336 training and 1,017 test images;
`jpeg75` has all 60,000, with the losses of a JPEG of quality 75. Neither is plain CIFAR-10, and
results are to be called by the names in `NAMES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.lab.credit_checks.data import READERS as EXACT
from experiments.lab.deep_training import jpeg75
from tasks.data import DataError, data_folder, missing_folder

Arrays = tuple[Tensor, Tensor, Tensor, Tensor]
READERS: dict[str, Callable[[Path], Arrays]] = {"exact": EXACT["cifar10"], "jpeg75": jpeg75.read}
NAMES = {"exact": "CIFAR-10, 8,336-image subset", "jpeg75": "JPEG-75 CIFAR-10"}
MARGIN = 4  # pixels of padding for random crops


@dataclass(frozen=True)
class Images:
    """Bytes as examples x 3 x height x width, and their classes.

    Mean and deviation are those of the training images, channel by channel.
    """

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    mean: Tensor
    deviation: Tensor

    def standardized(self, pixels: Tensor) -> Tensor:
        """Bytes as the network sees them."""
        return (pixels.float() / 255 - self.mean) / self.deviation


@lru_cache(maxsize=2)
def load_images(
    name: str, root: str | None = None, examples: int | None = None, held_out: float = 0.0
) -> Images:
    """The first `examples` training images and all test images.

    Args:
        name: a key of `NAMES`.
        held_out: the share of these training images, the last ones, that stands in for the test.

    Raises:
        DataError: if the files are not there, are damaged, or have too few images.
    """
    folder = (data_folder(root) or Path()) / "cifar10"
    if not folder.is_dir():
        raise DataError(
            f"{NAMES[name]} is expected in a folder cifar10, which does not exist"
            f"{missing_folder(root)}; set METAPLASTIC_DATA or --data to the folder that holds it."
        )
    x, y, test_x, test_y = READERS[name](folder)
    if examples is not None and examples > len(x):
        raise DataError(
            f"--examples is {examples}, but {NAMES[name]} here has {len(x)} training images; ask "
            "for fewer."
        )
    x, y = x[:examples], y[:examples]
    if held_out:
        kept = len(x) - round(held_out * len(x))
        x, y, test_x, test_y = x[:kept], y[:kept], x[kept:], y[kept:]
    mean, deviation = _moments(x)
    return Images(x, y.long(), test_x, test_y.long(), mean, deviation)


def augmented(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Random horizontal flips, and random crops after zero padding by 4 pixels."""
    count, _, height, width = pixels.shape
    padded = F.pad(pixels, [MARGIN] * 4)
    down, right = torch.randint(2 * MARGIN + 1, (2, count, 1), generator=generator)
    rows, columns = down + torch.arange(height), right + torch.arange(width)
    turned = torch.randint(2, (count, 1), generator=generator).bool()
    columns = torch.where(turned, columns.flip(1), columns)
    which = torch.arange(count)[:, None, None]
    # Indices on both sides of a slice put what they pick in front: examples height width channels.
    return padded[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of every channel, from how often each of the 256 values occurs."""
    counts = torch.stack([torch.bincount(part.flatten(), minlength=256) for part in x.unbind(1)])
    share, value = counts.double() / counts.sum(1, keepdim=True), torch.arange(256) / 255
    mean = share @ value.double()
    deviation = ((share * (value - mean[:, None]).square()).sum(1)).sqrt()
    return mean.float().view(-1, 1, 1), deviation.float().view(-1, 1, 1)
