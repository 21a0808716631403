"""All of CIFAR-10 as one long stream: JPEG-75 CIFAR-10, whose pixels have lost a little.

The archive `<root>/cifar10/cifar10_jpeg75_full.tar.xz`, where `root` is an option or
METAPLASTIC_DATA, holds the 60,000 images in the official order as JPEGs of quality 75, and
`index.csv` with split, number, label and file of each. Accuracies on them are not those of plain
CIFAR-10.
"""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tasks.data import DataError, data_folder, missing_folder

FILE, FOLDER = "cifar10_jpeg75_full.tar.xz", "cifar10-jpeg"


class Images(NamedTuple):
    """Images `n 3 32 32` as bytes, and labels, in the official order."""

    x: Tensor
    y: Tensor

    def real(self, which: Tensor | slice) -> Tensor:
        """These images as numbers of about mean 0 and variance 1."""
        return (self.x[which].float() / 255 - 0.473) / 0.251


def jpeg75(root: str | None = None) -> tuple[Images, Images]:
    """The 50,000 training and the 10,000 test images; it takes half a minute to decode them.

    Raises:
        DataError: if the archive is missing or damaged.
    """
    path = (data_folder(root) or Path()) / "cifar10" / FILE
    if not path.is_file():
        raise DataError(
            f"JPEG-75 CIFAR-10 is expected in {str(path)!r}, which does not exist"
            f"{missing_folder(root)}; set root or METAPLASTIC_DATA to the folder that holds "
            f"cifar10/{FILE}."
        )
    from PIL import Image

    try:
        with tarfile.open(path) as archive:
            content = {
                member.name: file.read()
                for member in archive
                if member.isfile() and (file := archive.extractfile(member)) is not None
            }
        rows = list(csv.DictReader(io.StringIO(content[f"{FOLDER}/index.csv"].decode())))
        found = []
        for split in ("train", "test"):
            own = sorted((r for r in rows if r["split"] == split), key=lambda r: int(r["index"]))
            pixels = np.stack(
                [np.asarray(Image.open(io.BytesIO(content[f"{FOLDER}/{r['path']}"]))) for r in own]
            )
            x = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
            found.append(Images(x, torch.tensor([int(r["label"]) for r in own])))
    except (OSError, EOFError, KeyError, ValueError, tarfile.TarError) as reason:
        raise DataError(f"{str(path)!r} is damaged: {reason}; copy it again.") from reason
    return found[0], found[1]
