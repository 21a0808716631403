"""MNIST: ten handwritten digits (LeCun et al. 1998), as few-shot lifetimes.

The four official files are read from `<root>/mnist/`, where `root` is an option or
METAPLASTIC_DATA. All splits have the same ten classes, in an order sampled per lifetime; no
image is in two: the first 50,000 training images are for training, the last 10,000 for
validation, the official test images for tests.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from tasks.data import DataError, data_folder, missing_folder, one_of
from tasks.images import FewShotImages

SPLITS = {"train": ("train", 0, 50_000), "validation": ("train", 50_000, None),
          "test": ("t10k", 0, None)}  # fmt: skip
CLASSES, SIDE = 10, 28


@dataclass(frozen=True, kw_only=True)
class Mnist(FewShotImages):
    """Few-shot lifetimes of digits; other options as for `FewShotOptions`.

    Every class has as many images as the rarest one, the first in the file.
    """

    split: Literal["train", "validation", "test"] = "train"
    root: str | None = None

    name: ClassVar[str] = "mnist"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("split", self.split, SPLITS)

    def load_images(self) -> Tensor:
        folder = (data_folder(self.root) or Path()) / self.name
        if not folder.is_dir():
            raise DataError(
                f"The images of {self.name} are expected in a folder of that name, which does "
                f"not exist{missing_folder(self.root)}; set root or METAPLASTIC_DATA to the "
                "folder that holds it."
            )
        part, first, end = SPLITS[self.split]
        x = _content(folder / f"{part}-images-idx3-ubyte.gz", 16).view(-1, SIDE, SIDE)[first:end]
        y = _content(folder / f"{part}-labels-idx1-ubyte.gz", 8)[first:end]
        fewest = int(y.bincount(minlength=CLASSES).min())
        return torch.stack([x[y == digit][:fewest] for digit in range(CLASSES)])


def _content(path: Path, header: int) -> Tensor:
    """The bytes of an IDX file behind its header."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise DataError(f"{str(path)!r} cannot be read ({error}); get it anew.") from error
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=header).copy())
