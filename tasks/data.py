"""Data files: location, checks, and a cache of decoded arrays.

Files of the user are found below a `root` or the folder that METAPLASTIC_DATA names. Decoded arrays
are kept in a cache folder (METAPLASTIC_CACHE, or `~/.cache/metaplastic`) as `.npy`
files that are written under a lock, renamed when complete, and memory-mapped, so that processes can
start at the same time.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

Pixels = NDArray[np.uint8]
Decoded = tuple[tuple[int, ...], Iterable[Pixels]]  # a shape, and the entries of its first axis


class DataError(RuntimeError):
    """Data is missing or damaged."""


def data_folder(root: str | Path | None) -> Path | None:
    """`root`, else the folder METAPLASTIC_DATA names, else None."""
    named = root or os.environ.get("METAPLASTIC_DATA")
    return Path(named).expanduser() if named else None


def missing_folder(root: str | Path | None) -> str:
    """A part of a message on missing data: whether the named folder does not exist."""
    folder = data_folder(root)
    if folder is None or folder.is_dir():
        return ""
    named = "root, or --data," if root else "METAPLASTIC_DATA"
    return f" ({named} names {str(folder)!r}, which is not a folder)"


def cache_folder() -> Path:
    """Where decoded and downloaded data is kept; made if missing."""
    folder = Path(os.environ.get("METAPLASTIC_CACHE") or "~/.cache/metaplastic").expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"The cache folder {str(folder)!r} cannot be made ({error.strerror}); "
            "set METAPLASTIC_CACHE to a folder that can be written."
        ) from error
    return folder


def locked(path: Path) -> FileLock:
    """The lock beside `path`: one process at a time; released by the system if it dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(path.name + ".lock"))


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write under the lock; at the end it becomes `path` or, on any error, nothing."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise DataError(
            f"{str(path)!r} could not be written ({error.strerror or error}); "
            "free some space there or set METAPLASTIC_CACHE to another folder."
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def cached(name: str, decode: Callable[[], Decoded]) -> Tensor:
    """The uint8 array `name` of the cache, memory-mapped; decoded first where it is missing.

    `decode` gives the array one class at a time, so that one larger than memory can be written. Its
    sha256 is stored beside it and verified.
    """
    path = cache_folder() / f"{name}.npy"
    seal = path.with_suffix(".sha256")
    with locked(path):
        if not (path.exists() and seal.exists()):
            with whole(path) as partial, whole(seal) as sealed:
                shape, classes = decode()
                with partial.open("wb") as file:
                    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)
                    for pixels in classes:
                        file.write(np.ascontiguousarray(pixels, dtype=np.uint8).data)
                sealed.write_text(fingerprint(partial))
    try:
        if seal.read_text() != fingerprint(path):
            raise ValueError("its bytes are not those that were written")
        # Copy-on-write, because torch warns about tensors over memory it must not write to.
        array: Pixels = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"The cached array {str(path)!r} is damaged ({error}); delete it and run again."
        ) from error
    return torch.from_numpy(array)


def downloaded(url: str, known_hash: str, folder: str, advice: str) -> Path:
    """The file at `url`, kept in a folder of the cache and verified each time it is used.

    Args:
        known_hash: `md5:...` or `sha256:...`.
        advice: what to do where it cannot be had, a clause.
    """
    try:
        import pooch
    except ImportError as error:
        raise DataError(
            f"{url} is downloaded by pooch, which is not installed; "
            f"run pip install 'metaplastic[lab]', or {advice}."
        ) from error
    base, _, name = url.rpartition("/")
    place = cache_folder() / folder
    files = pooch.create(place, f"{base}/", registry={name: known_hash}, retry_if_failed=1)
    pooch.get_logger().setLevel("ERROR")
    try:
        with locked(place / name):
            return Path(files.fetch(name))
    except ValueError as error:
        raise DataError(
            f"What came from {url} is not the official archive; try again later."
        ) from error
    except OSError as error:
        raise DataError(
            f"{name} is not at hand{missing_folder(None)} and {url} cannot be reached ({error}); "
            f"{advice}."
        ) from error


def read_image(source: bytes | Path, mode: Literal["L", "RGB"], size: int) -> Pixels:
    """An image file as size size (channels), antialiased; OSError and others if it is damaged."""
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError(
            "Image files are decoded by Pillow, which is not installed; "
            "run pip install 'metaplastic[lab]'."
        ) from error
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        return np.asarray(image.convert(mode).resize((size, size), Image.Resampling.LANCZOS))


def one_of(option: str, given: str, choices: Iterable[str]) -> None:
    """Raise ValueError for a value that is not among the choices of its option."""
    if given not in choices:
        raise ValueError(f"{option} is {given!r}; it must be one of {', '.join(choices)}.")


def check_image_size(given: object) -> None:
    """Raise ValueError for an invalid `image_size`."""
    if type(given) is not int or given < 1:
        raise ValueError(f"image_size is {given!r}; it must be 1 pixel or more.")


def fingerprint(*parts: object) -> str:
    """sha256 over `parts`: tensors by shape and bytes, files by content, the rest by repr."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            with part.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        elif isinstance(part, Tensor):
            digest.update(repr((tuple(part.shape), str(part.dtype))).encode())
            digest.update(part.contiguous().numpy().data)
        else:
            digest.update(repr(part).encode())
    return digest.hexdigest()
