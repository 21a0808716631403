"""CIFAR-10, 8,336-image subset: ten kinds of things (Krizhevsky 2009), as few-shot lifetimes.

Exact pixels of 8,336 training and 1,017 test images, from
`<root>/cifar10/cifar10_exact_subset.npz`, where `root` is an option or METAPLASTIC_DATA. All splits
have the same ten classes, in an order sampled per lifetime; no image is in two: of the training
images of a class the first four fifths are for training, the last fifth for validation; the test
images are for the test.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.data import DataError, data_folder, missing_folder, one_of
from tasks.images import FewShotImages

FILE = "cifar10_exact_subset.npz"
SPLITS = ("train", "validation", "test")
CLASSES, SIDE, TRAINED = 10, 32, 0.8


@dataclass(frozen=True, kw_only=True)
class Cifar10(FewShotImages):
    """Few-shot lifetimes of color images; other options as for `FewShotOptions`.

    `image_size` is 32, or 16, 8 or 4: the mean over squares of pixels. Every class has as many
    images as the rarest one, the first in the file.
    """

    split: Literal["train", "validation", "test"] = "train"
    image_size: int = 32
    root: str | None = None

    name: ClassVar[str] = "cifar10"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("split", self.split, SPLITS)
        one_of("image_size", str(self.image_size), ("32", "16", "8", "4"))

    def load_images(self) -> Tensor:
        path = (data_folder(self.root) or Path()) / "cifar10" / FILE
        if not path.is_file():
            raise DataError(
                f"The subset of CIFAR-10 is expected in {str(path)!r}, which does not exist"
                f"{missing_folder(self.root)}; set root or METAPLASTIC_DATA to the folder that "
                f"holds cifar10/{FILE}."
            )
        part = "test" if self.split == "test" else "train"
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
                x, y = (torch.from_numpy(held[f"{part}_{what}"]) for what in ("data", "labels"))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{str(path)!r} is damaged ({error}); copy it again.") from error
        fewest = int(y.long().bincount(minlength=CLASSES).min())
        found = torch.stack([x[y == kind][:fewest] for kind in range(CLASSES)])
        if part == "train":
            end = int(TRAINED * fewest)
            found = found[:, :end] if self.split == "train" else found[:, end:]
        if self.image_size != SIDE:
            small = F.avg_pool2d(found.flatten(0, 1).float(), SIDE // self.image_size)
            found = small.round().byte().reshape(*found.shape[:3], *small.shape[2:])
        return found.movedim(2, -1)
