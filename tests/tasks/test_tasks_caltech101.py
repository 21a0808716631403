"""Caltech-101 is read from either layout, divided by class, and refused where it is not whole."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tasks import caltech101
from tasks.caltech101 import OFFICIAL, SMALL, Caltech101, in_order
from tasks.data import DataError
from tests.helpers.real_data import ROOT, needs

MADE_SPLITS = {"validation": 2, "test": 3, "train": 4}
NAMES = [f"{thing}_{number}" for number, thing in enumerate("abcdefghi")]
INSTANCES, SIZE = 3, 20


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METAPLASTIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("METAPLASTIC_DATA", str(tmp_path))
    monkeypatch.setattr(caltech101, "SPLITS", MADE_SPLITS)
    monkeypatch.setattr(caltech101, "INSTANCES", INSTANCES)
    (tmp_path / "caltech101").mkdir()
    return tmp_path / "caltech101"


def color(name: str, instance: int) -> tuple[int, int, int]:
    """Of this image and no other."""
    return 25 * (NAMES.index(name) + 1), 50 * instance, 100


def jpeg(pixels: Any, mode: str = "RGB", size: tuple[int, int] = (30, 24)) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, pixels).save(file, "JPEG", quality=100)
    return file.getvalue()


def made_images() -> dict[str, bytes]:
    """More of each class than are used, and two folders that are no classes."""
    made = {
        f"{name}/image_{instance + 1:04d}.jpg": jpeg(color(name, instance))
        for name in NAMES
        for instance in range(INSTANCES + NAMES.index(name) % 3)
    }
    left_out = [f"{name}/image_0001.jpg" for name in ("Faces_easy", "BACKGROUND_Google")]
    return made | dict.fromkeys(left_out, jpeg((255, 255, 255)))


def write_folder(folder: Path, made: dict[str, bytes]) -> None:
    for name, content in made.items():
        path = folder / OFFICIAL / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_archive(folder: Path, made: dict[str, bytes]) -> None:
    with tarfile.open(folder / SMALL, "w:xz") as archive:
        for name, content in reversed(made.items()):  # no order is relied upon
            entry = tarfile.TarInfo(f"caltech101-84/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def stream(**options: Any) -> Caltech101:
    few: dict[str, Any] = {"ways": 2, "shots": 1, "queries_per_class": 1, "image_size": SIZE}
    return Caltech101(**(few | options))


def classes_of(images: Tensor) -> list[str]:
    return [NAMES[round(float(one)) - 1] for one in images[:, 0, 0, 0, 0] / 25]


LAYOUTS = pytest.mark.parametrize("write", [write_folder, write_archive])


@LAYOUTS
def test_the_first_images_of_each_class_are_read_by_name(folder: Path, write: Any) -> None:
    write(folder, made_images())
    for split, number in MADE_SPLITS.items():
        images = stream(split=split).images
        assert images.shape == (number, INSTANCES, SIZE, SIZE, 3)
        expected = [[color(name, i) for i in range(INSTANCES)] for name in classes_of(images)]
        difference = images.int() - torch.tensor(expected)[:, :, None, None]
        assert difference.abs().max() <= 3  # JPEG rounds colors
    assert stream().spec.input_shape == (3, SIZE, SIZE)


@LAYOUTS
def test_splits_divide_the_classes_by_the_hash_of_their_first_word(
    folder: Path, write: Any
) -> None:
    write(folder, made_images())
    found = [name for split in MADE_SPLITS for name in classes_of(stream(split=split).images)]
    hashed = sorted(NAMES, key=lambda name: hashlib.sha256(name[0].encode()).digest())
    assert found == hashed
    prints = {stream(split=split).spec.fingerprint for split in MADE_SPLITS}
    assert len(prints) == 3


def test_a_folder_of_ones_own_comes_before_the_small_copy(folder: Path) -> None:
    write_archive(folder, made_images())
    first = stream().images
    write_folder(folder, dict.fromkeys(made_images(), jpeg((7, 7, 7))))
    assert not torch.equal(stream().images, first)


def test_a_gray_image_has_three_equal_channels(folder: Path) -> None:
    write_folder(folder, dict.fromkeys(made_images(), jpeg(90, "L")))
    assert stream().images.shape[-1] == 3
    assert (stream().images.int() - 90).abs().max() <= 1


def test_a_whole_image_is_squeezed_into_the_square(folder: Path) -> None:
    wide = Image.new("RGB", (80, 40))
    wide.paste((255, 255, 255), (0, 0, 40, 40))  # its left half
    file = io.BytesIO()
    wide.save(file, "JPEG", quality=100)
    write_folder(folder, dict.fromkeys(made_images(), file.getvalue()))
    image = stream().images[0, 0].float()
    assert image[:, : SIZE // 2 - 1].min() > 200
    assert image[:, SIZE // 2 + 1 :].max() < 50


@LAYOUTS
def test_images_are_decoded_once_for_each_size(
    folder: Path, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, made_images())
    first = stream().images

    def decode(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(caltech101, "_pixels", decode)
    assert torch.equal(stream().images, first)
    with pytest.raises(AssertionError, match="decoded again"):
        _ = stream(image_size=SIZE + 1).images


def test_a_image_that_is_replaced_is_seen(folder: Path) -> None:
    write_folder(folder, made_images())
    before = stream().spec.fingerprint
    for name in NAMES:
        (folder / OFFICIAL / name / "image_0002.jpg").write_bytes(jpeg((1, 2, 3), size=(64, 64)))
    assert stream().spec.fingerprint != before


@LAYOUTS
def test_what_is_not_whole_is_refused_in_a_sentence(folder: Path, write: Any) -> None:
    few = {name: made for name, made in made_images().items() if name != "b_1/image_0002.jpg"}
    few = {name: made for name, made in few.items() if name != "b_1/image_0003.jpg"}
    write(folder, few)
    with pytest.raises(DataError, match=r"has fewer than 3 images of b_1; put all official ones"):
        _ = stream().images


@LAYOUTS
def test_a_missing_class_is_refused_in_a_sentence(folder: Path, write: Any) -> None:
    write(folder, {name: made for name, made in made_images().items() if name[0] != "c"})
    with pytest.raises(
        DataError, match=r"has 8 classes besides .*; the splits need the official 9"
    ):
        _ = stream().images


@pytest.mark.parametrize("damage", ["truncated", "emptied", "no archive"])
def test_a_damaged_archive_is_refused_in_a_sentence(folder: Path, damage: str) -> None:
    write_archive(folder, made_images())
    path = folder / SMALL
    whole = path.read_bytes()
    cut = {"truncated": whole[: len(whole) // 2], "emptied": b"", "no archive": bytes(500)}
    path.write_bytes(cut[damage])
    with pytest.raises(DataError, match=r"max60.tar.xz' is damaged \(.*\); replace it\."):
        _ = stream().images
    assert not list(Path(os.environ["METAPLASTIC_CACHE"]).glob("*.npy"))


@LAYOUTS
def test_a_damaged_image_is_refused_in_a_sentence(folder: Path, write: Any) -> None:
    made = made_images()
    made["d_3/image_0001.jpg"] = made["d_3/image_0001.jpg"][:200]
    write(folder, made)
    where = re.escape("d_3/image_0001.jpg" if write is write_folder else SMALL)
    with pytest.raises(DataError, match=rf"{where}' is damaged \(.*\); replace it\."):
        _ = stream().images


def test_a_missing_copy_says_what_to_supply(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = r"set METAPLASTIC_DATA to a folder with caltech101/101_ObjectCategories.*max60\.tar\.xz"
    with pytest.raises(DataError, match=said):
        _ = stream().images
    monkeypatch.setenv("METAPLASTIC_DATA", "nowhere")
    with pytest.raises(DataError, match=r"METAPLASTIC_DATA names 'nowhere', which is not a folder"):
        _ = stream().images


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"split": "tset"}, "split is 'tset'; it must be one of validation, test, train"),
        ({"image_size": 0}, "image_size is 0; it must be 1 pixel or more"),
    ],
)
def test_what_there_is_none_of_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        stream(**options)


@pytest.mark.data
@needs("caltech101")
def test_real_photographs_are_a_continual_stream_in_every_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAPLASTIC_CACHE", str(tmp_path))
    path = ROOT / "caltech101" / SMALL
    seen = {}
    for split in caltech101.SPLITS:
        stream = Caltech101(split=split)  # type: ignore[arg-type]
        seen[split] = stream.images
        episode = stream.sample(1, torch.Generator().manual_seed(0))
        episode.check()
        assert episode.support_x.shape == (1, 300, 1, 3, 84, 84)
        assert episode.query_x.shape == (1, 100, 3, 84, 84)
        assert torch.equal(episode.support_subtask.flatten(), torch.arange(300) // 15)
    assert {split: len(images) for split, images in seen.items()} == caltech101.SPLITS
    every = torch.cat(list(seen.values()))
    assert every.shape == (100, 30, 84, 84, 3)
    with tarfile.open(path) as archive:
        names = {entry.name.split("/")[1] for entry in archive}
        ordered = in_order(names - set(caltech101.LEFT_OUT))
        first = archive.extractfile(f"caltech101-84/{ordered[44]}/image_0007.jpg")
        assert first is not None
        assert np.array_equal(np.asarray(Image.open(first)), every[44, 6])
    words = [name.partition("_")[0] for name in ordered]
    for boundary in (20, 45):  # no first word is on both sides
        assert not set(words[:boundary]) & set(words[boundary:])
