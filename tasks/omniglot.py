"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn once by 20 people.

Lake, Salakhutdinov & Tenenbaum (2015). The two official archives are read from
`<root>/omniglot/`, where `root` is an option or METAPLASTIC_DATA, else downloaded once and
verified. All images are decoded with Pillow into one memory-mapped array: resized with its
antialiased Lanczos filter, ink 255 on 0.

Evaluation classes are only ever tested on. The 964 background classes are divided by whole
alphabets, because the test brings new alphabets too: the five whose names come first in the order
of their sha256 are for validation. The published runs train on the first 963 background classes
and test on the first 650 of evaluation: splits `paper` and `paper_test`. For tests on a thousand
characters and more, `wide_test` has whole alphabets of both parts, those whose names come first in
the same order, until they have that many; `narrow` has all others.
"""

from __future__ import annotations

import fnmatch
import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from tasks.data import (
    DataError,
    Pixels,
    cached,
    check_image_size,
    data_folder,
    downloaded,
    fingerprint,
    missing_folder,
    one_of,
    read_image,
)
from tasks.images import FewShotImages

SOURCE = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"
OFFICIAL_MD5 = {
    "images_background": "68d2efa1b9178cc56df9314c21c6e718",
    "images_evaluation": "6b91aef0f799c5bb55b94e3f2daec811",
}
CLASSES = {"images_background": 964, "images_evaluation": 659}
INSTANCES = 20
VALIDATION_ALPHABETS = 5
Split = Literal[
    "train", "validation", "test", "background", "paper", "paper_test", "narrow", "wide_test"
]
SPLITS = get_args(Split)
WIDE = 1000  # characters of `wide_test`, at least


@dataclass(frozen=True, kw_only=True)
class Omniglot(FewShotImages):
    """Few-shot lifetimes of handwritten characters; other options as for `FewShotOptions`.

    `split`: `train`, `validation` and `background` (both together) share no class with `test`;
    `paper` and `paper_test` are the published ones, `narrow` and `wide_test` those of a thousand
    characters. `image_size`: 28, or the published 84. `ink`:
    `"white"` is 1 on 0; `"black"` is the published 0 on 1.
    """

    split: Split = "train"
    image_size: int = 28
    ink: Literal["white", "black"] = "white"
    root: str | None = None

    name: ClassVar[str] = "omniglot"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("split", self.split, SPLITS)
        one_of("ink", self.ink, ("white", "black"))
        check_image_size(self.image_size)

    def load_images(self) -> Tensor:
        archives = {part: _archive(part, self.root) for part in CLASSES}
        members = {part: _members(part, path) for part, path in archives.items()}
        background, evaluation = (sorted(members[part]) for part in CLASSES)
        chosen = _split(self.split, background, evaluation)
        every = cached(
            f"omniglot-{self.image_size}-{fingerprint(*archives.values())[:16]}",
            lambda: (
                (len(background) + len(evaluation), INSTANCES, self.image_size, self.image_size),
                chain.from_iterable(
                    _decode(path, members[part], self.image_size) for part, path in archives.items()
                ),
            ),
        )
        if len(chosen) == chosen[-1] + 1 - chosen[0]:
            return every[chosen[0] : chosen[-1] + 1]  # stays memory-mapped
        return every[torch.tensor(chosen)]

    def finish(self, x: Tensor) -> Tensor:
        return x if self.ink == "white" else x.neg_().add_(1)


def _split(split: str, background: list[str], evaluation: list[str]) -> list[int]:
    """Numbers of the classes of a split, background classes before those of evaluation."""
    alphabets = _by_hash(background)
    held_out = {
        number
        for number, name in enumerate(background)
        if name.split("/")[1] in alphabets[:VALIDATION_ALPHABETS]
    }
    seen = range(len(background))
    unseen = range(len(background), len(background) + len(evaluation))
    wide = _wide([*background, *evaluation])
    return {
        "train": sorted(set(seen) - held_out),
        "validation": sorted(held_out),
        "test": list(unseen),
        "background": list(seen),
        "paper": list(seen[:963]),
        "paper_test": list(unseen[:650]),
        "narrow": sorted({*seen, *unseen} - wide),
        "wide_test": sorted(wide),
    }[split]


def _by_hash(names: list[str]) -> list[str]:
    """The alphabets of characters `part/alphabet/character`, in the order of their sha256."""
    return sorted(
        {name.split("/")[1] for name in names},
        key=lambda alphabet: hashlib.sha256(alphabet.encode()).digest(),
    )


def _wide(names: list[str]) -> set[int]:
    """Numbers of the characters of the first alphabets that have `WIDE` of them together."""
    chosen: set[int] = set()
    for alphabet in _by_hash(names):
        if len(chosen) >= WIDE:
            break
        chosen |= {number for number, name in enumerate(names) if name.split("/")[1] == alphabet}
    return chosen


def _archive(part: str, root: str | None) -> Path:
    """The official archive `part`: a user's own, or downloaded into the cache and verified."""
    folder = data_folder(root)
    if folder is not None and (path := folder / "omniglot" / f"{part}.zip").is_file():
        return path
    if root is not None:
        raise DataError(
            f"{root!r} has no omniglot/{part}.zip{missing_folder(root)}; put the official archive "
            f"there, from {SOURCE}/{part}.zip, or leave root out to download it."
        )
    return downloaded(
        f"{SOURCE}/{part}.zip", f"md5:{OFFICIAL_MD5[part]}", "omniglot",
        "set METAPLASTIC_DATA to a folder that contains omniglot/images_background.zip and "
        "omniglot/images_evaluation.zip, or use the stream glyphs, which needs no file",
    )  # fmt: skip


def _members(part: str, path: Path) -> dict[str, list[str]]:
    """The images of every class, `part/alphabet/character`, in the order of their names."""
    try:
        with zipfile.ZipFile(path) as archive:
            listed = fnmatch.filter(archive.namelist(), f"{part}/*/*/*.png")
    except (zipfile.BadZipFile, OSError) as error:
        raise _damaged(path, error) from error
    members: dict[str, list[str]] = {}
    for name in sorted(listed):
        members.setdefault(name.rpartition("/")[0], []).append(name)
    if len(members) != CLASSES[part] or any(len(own) != INSTANCES for own in members.values()):
        raise _damaged(path, f"it lacks {CLASSES[part]} classes of {INSTANCES} images")
    return members


def _decode(path: Path, members: dict[str, list[str]], size: int) -> Iterator[Pixels]:
    try:
        with zipfile.ZipFile(path) as archive:
            for _, names in sorted(members.items()):
                images = [read_image(archive.read(name), "L", size) for name in names]
                yield 255 - np.stack(images)
    except DataError:
        raise
    except Exception as error:  # zip and image decoders share no exception for damaged bytes
        raise _damaged(path, error) from error


def _damaged(path: Path, reason: object) -> DataError:
    return DataError(
        f"{str(path)!r} is damaged ({reason}); delete it and fetch {SOURCE}/{path.name} again."
    )
