"""All of CIFAR-10 from an archive of JPEG images: decoded once, then mapped from the cache.

The archive has an `index.csv` of split, index, label and path, in the official order, and the
images that it names. JPEG is lossy, so results on it are of "JPEG-75 CIFAR-10".
"""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from torch import Tensor

from tasks.data import DataError, Decoded, Pixels, cached, fingerprint, read_image

ARCHIVE = "cifar10_jpeg75_full.tar.xz"
SIDE = 32
SPLITS = ("train", "test")


def read(folder: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images `n 3 32 32` and labels, then those of the test, as bytes.

    Raises:
        DataError: if the archive is missing or damaged, or lacks an image of its index.
    """
    path = folder / ARCHIVE
    if not path.is_file():
        raise DataError(f"JPEG-75 CIFAR-10 is looked for in {str(path)!r}, which is not there.")
    key = fingerprint(path)[:16]
    # The archive is unpacked only if one of these is not in the cache, and then once.
    unpacked = lru_cache(lambda: _unpacked(path))
    pixels = cached(f"cifar10-jpeg75-{key}", lambda: _decoded(path, *unpacked()))
    labels = cached(f"cifar10-jpeg75-{key}-labels", _column(lambda: unpacked()[0], "label"))
    parts = cached(f"cifar10-jpeg75-{key}-split", _column(lambda: unpacked()[0], "split"))
    count = int((parts == SPLITS.index("train")).sum())
    return pixels[:count], labels[:count], pixels[count:], labels[count:]


Index = list[dict[str, str]]


def _unpacked(path: Path) -> tuple[Index, dict[str, bytes]]:
    """The index, training images first, and the content of every file by its path."""
    files: dict[str, bytes] = {}
    try:
        # From start to end: going back in a compressed archive would unpack it all again.
        with tarfile.open(path, "r|xz") as archive:
            for entry in archive:
                file = archive.extractfile(entry) if entry.isfile() else None
                if file is not None:
                    files[entry.name.partition("/")[2]] = file.read()
        index = list(csv.DictReader(io.StringIO(files["index.csv"].decode())))
        index.sort(key=lambda row: (SPLITS.index(row["split"]), int(row["index"])))
    except Exception as error:  # tar, xz and csv readers share no exception for damaged bytes
        raise _damaged(path, error) from error
    if lost := [row["path"] for row in index if row["path"] not in files]:
        raise _damaged(path, f"{len(lost)} images of its index are not in it, as {lost[0]!r}")
    return index, files


def _decoded(path: Path, index: Index, files: dict[str, bytes]) -> Decoded:
    def entries() -> Iterator[Pixels]:
        for row in index:
            try:
                yield read_image(files[row["path"]], "RGB", SIDE).transpose(2, 0, 1)
            except DataError:
                raise
            except Exception as error:  # image decoders share no exception for damaged bytes
                raise _damaged(path, f"{row['path']}: {error}") from error

    return (len(index), 3, SIDE, SIDE), entries()


def _column(index: Callable[[], Index], name: str) -> Callable[[], Decoded]:
    """A number for every image; that of a split is its place in `SPLITS`."""

    def decode() -> Decoded:
        words = [row[name] for row in index()]
        numbers = [SPLITS.index(word) if name == "split" else int(word) for word in words]
        return (len(numbers),), iter([np.array(numbers, np.uint8)])

    return decode


def _damaged(path: Path, reason: object) -> DataError:
    return DataError(f"{str(path)!r} is damaged ({reason}); replace it.")
