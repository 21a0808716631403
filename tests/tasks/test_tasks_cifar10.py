"""The subset of CIFAR-10 as lifetimes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasks.cifar10 import FILE, SPLITS, Cifar10
from tasks.data import DataError

FEW: dict[str, Any] = {"ways": 3, "shots": 1, "queries_per_class": 1}


def written(folder: Path) -> str:
    generator = np.random.default_rng(0)
    (folder / "cifar10").mkdir()
    arrays: dict[str, Any] = {}
    for part in ("train", "test"):
        arrays[f"{part}_data"] = generator.integers(0, 256, (100, 3, 32, 32), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.repeat(np.arange(10, dtype=np.uint8), 10)
    np.savez(folder / "cifar10" / FILE, **arrays)
    return str(folder)


def test_splits_share_no_image_and_small_ones_are_means(tmp_path: Path) -> None:
    root = written(tmp_path)
    of = {split: Cifar10(split=split, root=root, **FEW).images for split in SPLITS}  # type: ignore[arg-type]
    assert [of[split].shape[1] for split in SPLITS] == [8, 2, 10]
    every = [image.tobytes() for images in of.values() for image in images.flatten(0, 1).numpy()]
    assert len(set(every)) == len(every) == 200
    small = Cifar10(split="test", root=root, image_size=16, **FEW).images
    assert small.shape == (10, 10, 16, 16, 3)
    assert small[0, 0, 0, 0, 1] == of["test"][0, 0, :2, :2, 1].float().mean().round()


def test_a_lifetime_has_colors_first(tmp_path: Path) -> None:
    stream = Cifar10(root=written(tmp_path), image_size=8, **FEW)
    episode = stream.sample(2, torch.Generator().manual_seed(0))
    assert episode.support_x.shape == (2, 3, 1, 3, 8, 8)


def test_a_missing_or_damaged_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="set root or METAPLASTIC_DATA"):
        _ = Cifar10(root=str(tmp_path)).images
    path = Path(written(tmp_path)) / "cifar10" / FILE
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="is damaged"):
        _ = Cifar10(root=str(tmp_path)).images
