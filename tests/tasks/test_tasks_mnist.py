"""The ten classes of MNIST and Fashion-MNIST: divided by images, and refused where damaged."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch

import tasks
from tasks import mnist
from tasks.data import DataError
from tests.helpers.real_data import needs

SIZES = {"train": 60, "t10k": 30}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small sets in which the first pixel of an image is its class, the second its number."""
    splits = {
        "train": ("train", 0, 40),
        "validation": ("train", 40, None),
        "test": ("t10k", 0, None),
    }
    monkeypatch.setattr(mnist, "SPLITS", splits)
    for name in ("mnist", "fashion_mnist"):
        (tmp_path / name).mkdir()
        for part, size in SIZES.items():
            y = torch.arange(size, dtype=torch.uint8) % 10
            x = torch.zeros(size, 28, 28, dtype=torch.uint8)
            x[:, 0, 0], x[:, 0, 1] = y, torch.arange(size)
            for kind, header, content in (("images-idx3", 16, x), ("labels-idx1", 8, y)):
                path = tmp_path / name / f"{part}-{kind}-ubyte.gz"
                path.write_bytes(gzip.compress(bytes(header) + content.numpy().tobytes()))
    return tmp_path


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_every_class_has_its_own_images_and_no_image_is_in_two_splits(
    made: Path, name: str
) -> None:
    seen = {}
    for split, instances in (("train", 4), ("validation", 2), ("test", 3)):
        options = {"split": split, "root": str(made), "shots": 1, "queries_per_class": 1}
        images = tasks.build(name, **options).images  # type: ignore[attr-defined]
        assert images.shape == (10, instances, 28, 28)
        assert (images[:, :, 0, 0] == torch.arange(10)[:, None]).all()
        seen[split] = set(images[:, :, 0, 1].flatten().tolist())
    assert not seen["train"] & seen["validation"]


def test_what_is_missing_or_damaged_gets_a_sentence(made: Path, tmp_path: Path) -> None:
    options = {"root": str(tmp_path / "nowhere"), "shots": 1, "queries_per_class": 1}
    with pytest.raises(DataError, match="expected in a folder of that name"):
        _ = tasks.build("mnist", **options).spec
    (made / "mnist" / "train-labels-idx1-ubyte.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match=r"cannot be read .* get it anew"):
        _ = tasks.build("mnist", **(options | {"root": str(made)})).spec
    with pytest.raises(ValueError, match="split is 'all'"):
        tasks.build("mnist", split="all")


@needs("fashion_mnist")
def test_the_real_images_are_all_there() -> None:
    images = tasks.build("fashion_mnist", split="test").images  # type: ignore[attr-defined]
    assert images.shape == (10, 1000, 28, 28)
