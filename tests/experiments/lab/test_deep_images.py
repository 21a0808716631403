"""Images for deep networks: read, moved, standardized and refused; the network; the figures."""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.lab.deep_training import jpeg75
from experiments.lab.deep_training.images import augmented, load_images
from experiments.lab.figures.angle_plots import plot_angles, plot_rules
from experiments.lab.networks.residual import resnet18
from metaplastic.sites.survey import find_sites
from tasks.data import DataError
from tests.helpers.deep_data import write_subset
from tests.helpers.real_data import ROOT, needs


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAPLASTIC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_subset(tmp_path / "data")


def test_resnet_18_has_the_sites_and_parameters_of_the_common_one() -> None:
    model = resnet18()
    assert sum(p.numel() for p in model.parameters()) == 11_173_962  # kuangliu/pytorch-cifar
    assert len(find_sites(model, torch.randn(1, 3, 32, 32)).names) == 21
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    blocks = list(model.children())[3:5]
    sizes = [block(torch.randn(2, 64, 32, 32)).shape[-1] for block in blocks]
    assert sizes == [32, 32]
    small = resnet18(classes=4, width=8).eval()
    assert small[:-3](torch.randn(2, 3, 32, 32)).shape == (2, 64, 4, 4)


def test_images_are_turned_and_moved_but_not_otherwise_changed() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(1, 256, (50, 3, 32, 32), generator=generator).to(torch.uint8)
    found = augmented(x, generator)
    turned = 0
    for one, other in zip(x, found, strict=True):
        padded = torch.nn.functional.pad(one, [4] * 4)
        places = [
            flip
            for flip in (False, True)
            for down in range(9)
            for right in range(9)
            if torch.equal(
                padded[:, down : down + 32, right : right + 32], other.flip(2) if flip else other
            )
        ]
        assert len(places) == 1
        turned += places[0]
    assert 10 < turned < 40


def test_images_are_standardized_by_those_that_are_trained_on(root: Path) -> None:
    data = load_images("exact", str(root), 15, 0.2)
    assert (len(data.x), len(data.test_x)) == (12, 3)
    shown = data.standardized(data.x)
    assert shown.mean((0, 2, 3)).abs().max() < 1e-5
    assert (shown.std((0, 2, 3)) - 1).abs().max() < 1e-4


def write_jpegs(path: Path, lost: str = "") -> list[tuple[str, int, np.ndarray[Any, Any]]]:
    """An archive as that of JPEG images, in no order; what is in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    there = []
    with tarfile.open(path, "w:xz") as archive:
        index = io.StringIO()
        rows = csv.writer(index)
        rows.writerow(("split", "index", "label", "path"))
        for split, count in (("test", 3), ("train", 5)):
            for number in reversed(range(count)):
                pixels = np.full((32, 32, 3), 20 * number + (7 if split == "test" else 0), np.uint8)
                content = io.BytesIO()
                Image.fromarray(pixels).save(content, "JPEG", quality=75)
                name = f"{split}/some/{number:04d}.jpg"
                rows.writerow((split, number, number % 3, name))
                there.append((split, number, pixels))
                if name != lost:
                    add(archive, f"images/{name}", content.getvalue())
        add(archive, "images/index.csv", index.getvalue().encode())
    return there


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def test_jpeg_images_come_in_the_official_order_and_are_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "cifar10"
    there = write_jpegs(folder / jpeg75.ARCHIVE)
    for _ in range(2):
        x, y, test_x, test_y = jpeg75.read(folder)
        assert (x.shape, test_x.shape) == ((5, 3, 32, 32), (3, 3, 32, 32))
        assert y.tolist() == [0, 1, 2, 0, 1]
        assert test_y.tolist() == [0, 1, 2]
        for split, number, pixels in there:
            found = (x if split == "train" else test_x)[number].permute(1, 2, 0).numpy()
            assert np.abs(found.astype(int) - pixels).max() <= 2
        monkeypatch.setattr(jpeg75, "_unpacked", None)


def test_images_that_are_missing_or_damaged_are_reported(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"8,336-image subset is expected in a folder cifar10"):
        load_images("exact", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"--examples is 21, but .* here has 20 training images"):
        load_images("exact", str(root), 21)
    with pytest.raises(DataError, match=r"^JPEG-75 CIFAR-10 is looked for in .*which is not there"):
        load_images("jpeg75", str(root))
    archive = root / "cifar10" / jpeg75.ARCHIVE
    write_jpegs(archive, lost="train/some/0002.jpg")
    with pytest.raises(DataError, match=r"1 images of its index are not in it, as 'train/some/0"):
        load_images("jpeg75", str(root))
    archive.write_bytes(b"no archive")
    with pytest.raises(DataError, match="is damaged"):
        load_images("jpeg75", str(root))


def test_angles_are_drawn_for_one_run_and_for_many(tmp_path: Path) -> None:
    rows = [
        {"step": s, "site": str(k), "weight": None, "local": 9.0, "delta": float(s), "ratio": None}
        for s in (0, 5)
        for k in range(12)
    ]
    plot_angles(tmp_path / "one.png", rows, "one")
    plot_rules(tmp_path / "many.png", {str(k): rows for k in range(5)})
    assert all((tmp_path / f"{name}.png").stat().st_size > 5000 for name in ("one", "many"))


@needs("cifar10")
@pytest.mark.slow  # it decodes 60,000 images
def test_the_real_archive_has_all_images() -> None:
    if not (ROOT / "cifar10" / jpeg75.ARCHIVE).is_file():
        pytest.skip(f"{jpeg75.ARCHIVE} does not lie beside the exact images of CIFAR-10")
    exact, lossy = load_images("exact", str(ROOT)), load_images("jpeg75", str(ROOT))
    assert (len(exact.x), len(exact.test_x)) == (8336, 1017)
    assert (len(lossy.x), len(lossy.test_x)) == (50_000, 10_000)
    assert torch.bincount(lossy.y).tolist() == [5000] * 10
