"""Real images for training checks: whole sets in memory, of the requested size and scale."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.data import DataError, data_folder, missing_folder

Scale = Literal["standard", "unit"]
SUBSET = "cifar10_exact_subset.npz"


@dataclass(frozen=True)
class Images:
    """Pixels as examples x channels x height x width, and their classes."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor


@lru_cache(maxsize=4)
def load_images(
    name: str,
    examples: int | None = None,
    root: str | None = None,
    *,
    scale: Scale = "standard",
    held_out: int = 0,
    pool: int = 1,
) -> Images:
    """The first `examples` training images and all test images of a set.

    `standard` is one mean and deviation for all pixels, those of the training images; `unit` is
    from 0 to 1. With `held_out`, the last so many of the training images replace the test images.

    Raises:
        DataError: if the files are not there or too few images are in them.
    """
    x, y, test_x, test_y = READERS[name](_folder(name, root))
    if examples is not None and examples > len(x):
        raise DataError(
            f"{examples} training images were requested of {name}, which has {len(x)}; use fewer."
        )
    x, y = x[:examples].float() / 255, y[:examples].long()
    test_x, test_y = test_x.float() / 255, test_y.long()
    if held_out:
        x, test_x = x[:-held_out], x[-held_out:]
        y, test_y = y[:-held_out], y[-held_out:]
    if pool > 1:
        x, test_x = F.avg_pool2d(x, pool), F.avg_pool2d(test_x, pool)
    if scale == "standard":
        mean, deviation = x.mean(), x.std()
        x, test_x = (x - mean) / deviation, (test_x - mean) / deviation
    return Images(x, y, test_x, test_y)


def _folder(name: str, root: str | None) -> Path:
    folder = (data_folder(root) or Path()) / name
    if not folder.is_dir():
        raise DataError(
            f"The images of {name} are expected in a folder of that name, which does not exist"
            f"{missing_folder(root)}; set METAPLASTIC_DATA or --data to the folder that holds it."
        )
    return folder


def _idx(folder: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four files of MNIST and its likes: big-endian headers, then bytes."""
    read = []
    for part in ("train", "t10k"):
        for kind, header in (("images-idx3", 16), ("labels-idx1", 8)):
            path = folder / f"{part}-{kind}-ubyte.gz"
            try:
                content = gzip.decompress(path.read_bytes())
            except (OSError, EOFError) as error:
                raise DataError(f"{str(path)!r} cannot be read ({error}); get it anew.") from error
            read.append(torch.from_numpy(np.frombuffer(content, np.uint8, offset=header).copy()))
    x, y, test_x, test_y = read
    return x.view(-1, 1, 28, 28), y, test_x.view(-1, 1, 28, 28), test_y


def _cifar10(folder: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The subset whose pixels are exact: 8,336 training and 1,017 test images."""
    try:
        with np.load(folder / SUBSET, allow_pickle=False) as arrays:
            names = ("train_data", "train_labels", "test_data", "test_labels")
            x, y, test_x, test_y = (torch.from_numpy(arrays[name]) for name in names)
    except (OSError, ValueError, KeyError) as error:
        path = str(folder / SUBSET)
        raise DataError(f"{path!r} cannot be read ({error}); get it anew.") from error
    return x, y, test_x, test_y


READERS: dict[str, Callable[[Path], tuple[Tensor, Tensor, Tensor, Tensor]]] = {
    "mnist": _idx,
    "fashion_mnist": _idx,
    "cifar10": _cifar10,
}
