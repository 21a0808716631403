"""mini-ImageNet: 100 kinds of photographed things, 600 images of each, 84x84 in color.

Vinyals et al. (2016), split 64 / 16 / 20 by Ravi & Larochelle (2017). The images may not be
redistributed, so this stream reads the user's copy in `<root>/miniimagenet/`, where `root` is an
option or METAPLASTIC_DATA: either one of the pickles in common use, or `train.csv`, `val.csv` and
`test.csv` with the JPEGs they list in `images/`. What was read is kept in the cache as an array.

A pickle can run any code when it is read; these are read by `tasks.arrays_only`, which cannot.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from tasks.arrays_only import load_arrays
from tasks.data import (
    DataError,
    Decoded,
    Pixels,
    cached,
    data_folder,
    fingerprint,
    missing_folder,
    one_of,
    read_image,
)
from tasks.images import FewShotImages

SIZE = 84
LISTS = {"train": "train", "validation": "val", "test": "test"}
PICKLES = {
    "train": (
        "mini-imagenet-cache-train.pkl",
        "miniImageNet_category_split_train_phase_train.pickle",
    ),
    "validation": ("mini-imagenet-cache-val.pkl", "miniImageNet_category_split_val.pickle"),
    "test": ("mini-imagenet-cache-test.pkl", "miniImageNet_category_split_test.pickle"),
}
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class MiniImageNet(FewShotImages):
    """Few-shot lifetimes of photographs; other options as for `FewShotOptions`.

    `normalize=True` subtracts ImageNet's mean and divides by its deviation, as published.
    """

    split: Literal["train", "validation", "test"] = "train"
    normalize: bool = False
    root: str | None = None

    name: ClassVar[str] = "miniimagenet"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("split", self.split, LISTS)

    def load_images(self) -> Tensor:
        folder = (data_folder(self.root) or Path()) / "miniimagenet"
        for name in PICKLES[self.split]:
            if (path := folder / name).is_file():
                return _kept(fingerprint(path), partial(_from_pickle, path))
        listed = folder / f"{LISTS[self.split]}.csv"
        if listed.is_file() and (folder / "images").is_dir():
            classes = _listed(listed, folder / "images")
            # Checking the content of every JPEG would take as long as decoding.
            state = [
                (p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in chain(*classes.values())
            ]
            return _kept(fingerprint(listed, state), partial(_from_jpegs, classes))
        raise DataError(
            f"mini-ImageNet is not in {str(folder)!r}{missing_folder(self.root)}; set "
            f"METAPLASTIC_DATA to a folder with miniimagenet/{PICKLES[self.split][0]}, or with "
            f"miniimagenet/{listed.name} and the JPEGs it lists in miniimagenet/images."
        )

    def finish(self, x: Tensor) -> Tensor:
        if not self.normalize:
            return x
        mean, deviation = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_DEVIATION)
        return (x - mean[:, None, None]) / deviation[:, None, None]


def _kept(key: str, decode: Callable[[], Decoded]) -> Tensor:
    return cached(f"miniimagenet-{key[:16]}", decode)


def _listed(path: Path, folder: Path) -> dict[str, list[Path]]:
    """The JPEGs of every class in the order of the list."""
    classes: dict[str, list[Path]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if not {"filename", "label"} <= row.keys():
                raise DataError(f"{str(path)!r} needs the columns filename and label.")
            classes.setdefault(row["label"], []).append(folder / row["filename"])
    missing = [one for members in classes.values() for one in members if not one.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of the images that {str(path)!r} lists are missing, first "
            f"{missing[0].name!r}; put them into {str(folder)!r}."
        )
    _same_number(path, [len(members) for members in classes.values()])
    return classes


def _from_jpegs(classes: dict[str, list[Path]]) -> Decoded:
    def read(path: Path) -> Pixels:
        try:
            return read_image(path, "RGB", SIZE)
        except DataError:
            raise
        except Exception as error:  # image decoders share no exception for damaged bytes
            raise DataError(f"{str(path)!r} is damaged ({error}); replace it.") from error

    shape = (len(classes), len(next(iter(classes.values()))), SIZE, SIZE, 3)
    return shape, (np.stack([read(one) for one in own]) for _, own in sorted(classes.items()))


def _from_pickle(path: Path) -> Decoded:
    """`{image_data, class_dict}` or `{data, labels}`, the two layouts in common use."""
    content = load_arrays(path)
    content = content if isinstance(content, dict) else {}
    images = content.get("image_data", content.get("data"))
    if (
        not isinstance(images, np.ndarray)
        or images.dtype != np.uint8
        or images.shape[1:] != (SIZE, SIZE, 3)
        or not {"class_dict", "labels"} & content.keys()
    ):
        raise DataError(
            f"{str(path)!r} holds no uint8 images of 84x84x3 under image_data and class_dict or "
            "data and labels; use one of the pickles in common use."
        )
    if "class_dict" in content:
        members = [np.asarray(own) for _, own in sorted(content["class_dict"].items())]
    else:
        labels = np.asarray(content["labels"])
        members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    _same_number(path, [len(own) for own in members])
    return (len(members), len(members[0]), SIZE, SIZE, 3), (images[own] for own in members)


def _same_number(path: Path, numbers: list[int]) -> None:
    if not numbers or min(numbers) != max(numbers):
        raise DataError(
            f"{str(path)!r} has classes of {min(numbers, default=0)} to {max(numbers, default=0)} "
            "images; all classes must have the same number."
        )
