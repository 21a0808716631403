"""Caltech-101: photographs of a hundred kinds of things, 30 of each, squeezed to squares.

Fei-Fei, Fergus & Perona (2004). The images are read from
`<root>/caltech101/`, where `root` is an option or METAPLASTIC_DATA. Either the folder
`101_ObjectCategories` of the official archive lies there, or `caltech101_84x84_max60.tar.xz`, a
small copy with up to 60 images of each class that are 84x84 already. Whole images are resized,
whatever their shape, with Pillow's antialiased Lanczos filter; gray ones get three equal channels.

The clutter of `BACKGROUND_Google` is no class, and `Faces_easy` shows the people of `Faces` again;
both are left out. The other classes have 31 images or more; the first 30 by name are used.

55 classes are for training, 20 for validation and 25 for the test: in the order of the sha256 of
the first word of their names, the first are for validation, the next for the test. The first word,
because a crocodile and a crocodile's head should not be divided.
"""

from __future__ import annotations

import fnmatch
import hashlib
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from tasks.data import (
    DataError,
    Decoded,
    Pixels,
    cached,
    check_image_size,
    data_folder,
    fingerprint,
    missing_folder,
    one_of,
    read_image,
)
from tasks.images import FewShotImages

OFFICIAL = "101_ObjectCategories"
SMALL = "caltech101_84x84_max60.tar.xz"
SOURCE = "https://data.caltech.edu/records/mzrjq-6wc02"
LEFT_OUT = ("BACKGROUND_Google", "Faces_easy")
SPLITS = {"validation": 20, "test": 25, "train": 55}
INSTANCES = 30

Members = dict[str, dict[str, bytes | Path]]  # class, name of an image: its content or its path


@dataclass(frozen=True, kw_only=True)
class Caltech101(FewShotImages):
    """Lifetimes of photographs, class by class; other options as for `FewShotOptions`.

    By default 20 classes arrive one after another, 15 images of each, one a step, and 5 others
    of each are queries, sampled among all 30, since no published test fixes them.
    """

    split: Literal["train", "validation", "test"] = "train"
    ways: int = 20
    shots: int = 15
    order: Literal["iid", "by_class"] = "by_class"
    image_size: int = 84
    root: str | None = None

    name: ClassVar[str] = "caltech101"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("split", self.split, SPLITS)
        check_image_size(self.image_size)

    def load_images(self) -> Tensor:
        folder = (data_folder(self.root) or Path()) / "caltech101"
        if (official := folder / OFFICIAL).is_dir():
            members = _in_folder(official)
            # Checking the content of every JPEG would take as long as decoding.
            files = sorted(official / name / image for name in members for image in members[name])
            state = [(p.parent.name, p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files]
            every = self._kept(fingerprint(state), official, lambda: members)
        elif (small := folder / SMALL).is_file():
            every = self._kept(fingerprint(small), small, partial(_in_archive, small))
        else:
            raise DataError(
                f"Caltech-101 is not in {str(folder)!r}{missing_folder(self.root)}; set "
                f"METAPLASTIC_DATA to a folder with caltech101/{OFFICIAL}, unpacked from the "
                f"official archive ({SOURCE}), or with caltech101/{SMALL}."
            )
        names = list(SPLITS)
        first = sum(SPLITS[before] for before in names[: names.index(self.split)])
        return every[first : first + SPLITS[self.split]]  # stays memory-mapped

    def _kept(self, key: str, source: Path, find: Callable[[], Members]) -> Tensor:
        """All splits, one after another: classes instances height width channels."""
        size = self.image_size

        def decode() -> Decoded:
            members = find()
            classes = (_pixels(members[name], source, size) for name in in_order(members))
            return (len(members), INSTANCES, size, size, 3), classes

        return cached(f"caltech101-{size}-{key[:16]}", decode)


def in_order(names: Iterable[str]) -> list[str]:
    """Classes in the order of a hash, which the splits divide."""
    return sorted(
        names, key=lambda name: (hashlib.sha256(name.partition("_")[0].encode()).digest(), name)
    )


def _in_folder(folder: Path) -> Members:
    classes = (one for one in folder.iterdir() if one.is_dir())
    return _usable(
        {one.name: {p.name: p for p in one.glob("image_*.jpg")} for one in classes}, folder
    )


def _in_archive(path: Path) -> Members:
    members: Members = {}
    try:
        # From start to end: going back in a compressed archive would unpack it all again.
        with tarfile.open(path, "r|xz") as archive:
            for entry in archive:
                file = archive.extractfile(entry) if entry.isfile() else None
                if file is not None and fnmatch.fnmatch(entry.name, "*/*/image_*.jpg"):
                    _, name, image = entry.name.rsplit("/", 2)
                    members.setdefault(name, {})[image] = file.read()
    except Exception as error:  # tar and xz decoders share no exception for damaged bytes
        raise _damaged(path, error) from error
    return _usable(members, path)


def _usable(members: Members, source: Path) -> Members:
    """The classes in use with `INSTANCES` images each, by name."""
    used = {
        name: dict(sorted(own.items())[:INSTANCES])
        for name, own in members.items()
        if name not in LEFT_OUT
    }
    few = sorted(name for name, own in used.items() if len(own) < INSTANCES)
    if few:
        raise DataError(
            f"{str(source)!r} has fewer than {INSTANCES} images of {', '.join(few)}; put all "
            f"official ones there, {SOURCE}."
        )
    if len(used) != sum(SPLITS.values()):
        raise DataError(
            f"{str(source)!r} has {len(used)} classes besides {' and '.join(LEFT_OUT)}; the splits "
            f"need the official {sum(SPLITS.values())}, {SOURCE}."
        )
    return used


def _pixels(images: dict[str, bytes | Path], source: Path, size: int) -> Pixels:
    """Images of one class: instances height width channels."""

    def read(content: bytes | Path) -> Pixels:
        try:
            return read_image(content, "RGB", size)
        except DataError:
            raise
        except Exception as error:  # image decoders share no exception for damaged bytes
            raise _damaged(content if isinstance(content, Path) else source, error) from error

    return np.stack([read(content) for content in images.values()])


def _damaged(path: Path, reason: object) -> DataError:
    return DataError(f"{str(path)!r} is damaged ({reason}); replace it.")
