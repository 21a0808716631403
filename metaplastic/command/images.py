"""Images to learn from: a folder of them for each class, or patterns in noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from metaplastic.command.errors import CommandError
from metaplastic.support.optional import need
from metaplastic.support.seeding import seeded

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
NOISE = 1.0  # standard deviation, beside patterns of deviation 1
GRID = 8  # the patterns are as coarse as an image of so many pixels a side


@dataclass(frozen=True)
class Images:
    """Labelled files, by class."""

    classes: tuple[str, ...]
    files: tuple[tuple[Path, int], ...]


def listed(folder: Path) -> Images:
    """The images in the folders of a folder, one folder for each class.

    Raises:
        CommandError: for fewer than two folders of images.
    """
    if not folder.is_dir():
        raise CommandError(f"--data {folder} is not a folder; give one with a folder per class.")
    found = {
        own.name: files
        for own in sorted(folder.iterdir())
        if own.is_dir()
        if (files := sorted(p for p in own.iterdir() if p.suffix.lower() in SUFFIXES))
    }
    if len(found) < 2:
        raise CommandError(
            f"--data {folder} has {len(found)} folders with images; at least two are needed, one "
            f"for each class, with files of {', '.join(SUFFIXES)}."
        )
    labelled = [(path, label) for label, files in enumerate(found.values()) for path in files]
    return Images(tuple(found), tuple(labelled))


def read(images: Images, count: int, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Up to `count` of the images in an order by the seed: `1 3 size size`, and a label `1`.

    Raises:
        CommandError: for a file that cannot be read as an image.
        MissingPackageError: without Pillow.
    """
    pillow = need("PIL.Image", "--data", "pillow")
    order = torch.randperm(len(images.files), generator=seeded(seed, "images")).tolist()
    for number in order[:count]:
        path, label = images.files[number]
        yield _image(pillow, path, size), torch.tensor([label])


def _image(pillow: Any, path: Path, size: int) -> Tensor:
    try:
        with pillow.open(path) as file:
            resized = file.convert("RGB").resize((size, size))
    except Exception as error:  # decoders of images share no exception
        raise CommandError(f"{path} cannot be read as an image ({error}); remove it.") from error
    pixels = torch.frombuffer(bytearray(resized.tobytes()), dtype=torch.uint8)
    scaled = pixels.view(1, size, size, 3).permute(0, 3, 1, 2).float() / 255
    return (scaled - 0.5) / 0.25


def patterns(classes: int, count: int, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """`count` examples in noise of a pattern for each class: `1 3 size size`, and a label `1`."""
    generator = seeded(seed, "patterns")
    coarse = torch.randn(classes, 3, GRID, GRID, generator=generator)
    pattern = F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    pattern = pattern / pattern.std()
    for _ in range(count):
        label = torch.randint(classes, (1,), generator=generator)
        noise = torch.randn(1, 3, size, size, generator=generator)
        yield pattern[label] + NOISE * noise, label
