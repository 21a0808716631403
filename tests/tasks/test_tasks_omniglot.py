"""Omniglot is found, decoded once, divided without overlap, and refused where damaged."""

from __future__ import annotations

import hashlib
import io
import os
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import responses
import torch
from PIL import Image

from tasks import omniglot
from tasks.data import DataError
from tasks.omniglot import Omniglot
from tests.helpers.real_data import needs

MADE = {"images_background": 6, "images_evaluation": 3}


def png(ink_rows: int) -> bytes:
    """A 105x105 1-bit character whose ink is its first rows."""
    paper = np.ones((105, 105), bool)
    paper[:ink_rows] = False
    file = io.BytesIO()
    Image.fromarray(paper).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small archives: three alphabets of background, one of evaluation."""
    monkeypatch.setenv("METAPLASTIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("METAPLASTIC_DATA", raising=False)
    monkeypatch.setattr(omniglot, "CLASSES", MADE)
    monkeypatch.setattr(omniglot, "VALIDATION_ALPHABETS", 1)
    folder = tmp_path / "data" / "omniglot"
    folder.mkdir(parents=True)
    for part, classes in MADE.items():
        with zipfile.ZipFile(folder / f"{part}.zip", "w") as archive:
            for class_ in range(classes):
                name = f"{part}/alphabet{class_ // 2}/character{class_:02d}"
                for instance in range(20):
                    ink = 10 * class_ + 15 + (50 if part == "images_evaluation" else 0)
                    archive.writestr(f"{name}/{instance:04d}_01.png", png(ink))
    return tmp_path / "data"


def few(made: Path, **options: Any) -> Omniglot:
    return Omniglot(root=str(made), ways=1, **options)


def test_ink_is_one_on_zero_unless_the_published_polarity_is_requested(made: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    white = few(made, split="background").sample(3, generator).support_x
    generator.manual_seed(0)
    black = few(made, split="background", ink="black").sample(3, generator).support_x
    assert white[..., 0, :].min() == 1
    assert white[..., -1, :].max() == 0
    assert torch.equal(black, 1 - white)
    assert few(made).spec.fingerprint != few(made, ink="black").spec.fingerprint


def test_classes_are_in_the_order_of_their_names_and_of_the_requested_size(made: Path) -> None:
    for size in (28, 84):
        images = few(made, split="background", image_size=size).images
        assert images.shape == (6, 20, size, size)
        ink = images.float().mean((1, 2, 3)) / 255
        expected = (10 * torch.arange(6) + 15) / 105
        assert (ink - expected).abs().max() < 0.01


def test_splits_share_no_class_and_no_alphabet(made: Path) -> None:
    def names(split: str) -> set[int]:
        images = few(made, split=split).images
        return {int(row) for row in images[:, 0, :, 14].float().sum(-1).round()}

    train, validation, test = (names(split) for split in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (4, 2, 3)
    assert train | validation == names("background")
    prints = {few(made, split=s).spec.fingerprint for s in ("train", "validation", "test")}
    assert len(prints) == 3


def test_images_are_decoded_once(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = few(made, split="test").images

    def decode(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(omniglot, "_decode", decode)
    assert torch.equal(few(made, split="test").images, first)


@pytest.mark.parametrize("damage", ["truncated", "altered", "emptied", "incomplete"])
def test_a_damaged_archive_is_refused_in_one_sentence(made: Path, damage: str) -> None:
    path = made / "omniglot" / "images_background.zip"
    whole = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "altered":
        path.write_bytes(whole[:150] + bytes(20) + whole[170:])
    elif damage == "emptied":
        path.write_bytes(b"")
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("images_background/a/character01/0001_01.png", png(20))
    with pytest.raises(DataError) as refusal:
        _ = few(made).images
    sentence = str(refusal.value)
    assert "images_background.zip' is damaged (" in sentence
    assert sentence.endswith("/images_background.zip again.")
    cache = Path(os.environ["METAPLASTIC_CACHE"])
    assert not list(cache.glob("*.npy"))


def test_a_folder_without_the_archives_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no omniglot/images_background.zip; put the official"):
        _ = Omniglot(root=str(tmp_path)).images
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"zip \(root, or --data, names '.*nowhere', which is not"):
        _ = Omniglot(root=nowhere).images


def test_no_data_and_no_network_says_what_to_do(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with responses.RequestsMock() as network:
        network.get(re.compile(".*"), body=requests.ConnectionError("no network"))
        with pytest.raises(DataError, match=r"no network.*set METAPLASTIC_DATA.*stream glyphs"):
            _ = Omniglot().images
        monkeypatch.setenv("METAPLASTIC_DATA", "nowhere")
        said = r"not at hand \(METAPLASTIC_DATA names 'nowhere', which is not a folder\) and https"
        with pytest.raises(DataError, match=said):
            _ = Omniglot().images
        network.replace("GET", re.compile(".*"), status=404)
        with pytest.raises(DataError, match=r"cannot be reached \(404 Client Error"):
            _ = Omniglot().images


def test_a_download_is_verified_and_kept(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archives = {part: (made / "omniglot" / f"{part}.zip").read_bytes() for part in MADE}
    with responses.RequestsMock() as network:
        replies = [
            network.get(f"{omniglot.SOURCE}/{part}.zip", body=content)
            for part, content in archives.items()
        ]
        with pytest.raises(DataError, match="is not the official archive"):
            _ = Omniglot(ways=1).images
        sums = {part: hashlib.md5(content).hexdigest() for part, content in archives.items()}
        monkeypatch.setattr(omniglot, "OFFICIAL_MD5", sums)
        before = len(network.calls)
        assert torch.equal(Omniglot(ways=1).images, few(made).images)
        assert [reply.call_count > 0 for reply in replies] == [True, True]
        _ = Omniglot(ways=1, split="test").images
        assert len(network.calls) == before + 2
        kept = Path(os.environ["METAPLASTIC_CACHE"]) / "omniglot" / "images_background.zip"
        kept.write_bytes(b"damaged")  # is fetched again, where it used to be read
        assert torch.equal(Omniglot(ways=1).images, few(made).images)
        assert len(network.calls) == before + 3


def test_without_the_package_that_downloads_a_sentence_says_what_to_install(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)  # an import then fails
    with pytest.raises(
        DataError, match=r"pip install 'metaplastic\[lab\]', or set METAPLASTIC_DATA"
    ):
        _ = Omniglot().images


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cache for all tests on the real archives, which take seconds to decode."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METAPLASTIC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.data
@pytest.mark.usefixtures("kept")
@needs("omniglot")
class TestRealOmniglot:
    def test_background_and_evaluation_have_the_official_sizes(self) -> None:
        sizes = {s: Omniglot(split=s).images.shape[0] for s in omniglot.SPLITS}  # type: ignore[arg-type]
        assert sizes == {
            "train": 827,
            "validation": 137,
            "test": 659,
            "background": 964,
            "paper": 963,
            "paper_test": 650,
            "narrow": 612,
            "wide_test": 1011,
        }
        assert Omniglot(split="background").images.shape[1:] == (20, 28, 28)

    def test_a_resized_image_keeps_the_ink_of_the_original(self) -> None:
        images = Omniglot(split="background").images
        path = Path(os.environ["METAPLASTIC_DATA"]) / "omniglot" / "images_background.zip"
        with zipfile.ZipFile(path) as archive:
            files = sorted(name for name in archive.namelist() if name.endswith(".png"))
            for number in (0, 777, 19279):
                pixels = np.asarray(Image.open(io.BytesIO(archive.read(files[number]))))
                ours = images[number // 20, number % 20].float().mean() / 255
                assert abs(float(ours) - (~pixels).mean()) < 0.01
        assert len(files) == 964 * 20

    def test_turned_classes_of_a_20_way_lifetime_differ(self) -> None:
        stream = Omniglot(split="train", ways=20, rotations=True, order="by_class")
        episode = stream.sample(2, torch.Generator().manual_seed(0))
        assert stream.classes == 4 * 827
        assert episode.support_x.shape == (2, 100, 1, 1, 28, 28)
        assert 0.02 < episode.support_x.mean() < 0.15


@pytest.mark.parametrize("size", [0, -3, "28"])
def test_a_size_that_no_image_has_is_not_blamed_on_the_archive(size: Any) -> None:
    with pytest.raises(ValueError, match="must be 1 pixel or more"):
        Omniglot(image_size=size)
