"""mini-ImageNet is read from a user's own copy, and no pickle runs code."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.data import DataError
from tasks.miniimagenet import MiniImageNet

CLASSES, INSTANCES = ("n01", "n02", "n03"), 4


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METAPLASTIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("METAPLASTIC_DATA", str(tmp_path))
    (tmp_path / "miniimagenet").mkdir()
    return tmp_path / "miniimagenet"


def made_images() -> Any:
    """Plain colors, a different one for each image: classes instances 84 84 3."""
    colors = np.random.default_rng(0).integers(0, 256, (len(CLASSES), INSTANCES, 1, 1, 3), np.uint8)
    return np.broadcast_to(colors, (len(CLASSES), INSTANCES, 84, 84, 3))


def write_jpegs(folder: Path, images: Any, size: int = 84) -> None:
    (folder / "images").mkdir()
    rows = ["filename,label"]
    for name, own in zip(CLASSES, images, strict=True):
        for instance, pixels in enumerate(own):
            rows.append(f"{name}{instance:08d}.jpg,{name}")
            image = Image.fromarray(np.ascontiguousarray(pixels)).resize((size, size))
            image.save(folder / "images" / f"{name}{instance:08d}.jpg", quality=100)
    (folder / "train.csv").write_text("\n".join(rows) + "\n")


def png_with_a_broken_chunk() -> bytes:
    """Pillow calls this a SyntaxError."""
    file, noise = io.BytesIO(), np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    before, _, after = file.getvalue().rpartition(b"IDAT")
    return before + b"IDA?" + after


def stream(**options: Any) -> MiniImageNet:
    return MiniImageNet(ways=3, shots=2, queries_per_class=2, **options)


@pytest.mark.parametrize("size", [84, 120])
def test_listed_jpegs_become_color_images_of_84_pixels(folder: Path, size: int) -> None:
    write_jpegs(folder, made_images(), size)
    images = stream().images
    assert images.shape == (3, INSTANCES, 84, 84, 3)
    difference = images.numpy().astype(int) - made_images()
    assert abs(difference).max() <= 3  # JPEG rounds colors
    assert stream().spec.input_shape == (3, 84, 84)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("layout", ["image_data", "data"])
def test_the_common_pickles_give_the_same_images(folder: Path, layout: str, protocol: int) -> None:
    images = made_images()
    flat = np.ascontiguousarray(images.reshape(-1, 84, 84, 3))
    if layout == "image_data":
        members = {name: list(range(4 * i, 4 * i + 4)) for i, name in enumerate(CLASSES)}
        content, name = {"image_data": flat, "class_dict": members}, "mini-imagenet-cache-train.pkl"
    else:
        labels = [np.int64(i) for i in range(3) for _ in range(INSTANCES)]
        content = {"data": flat, "labels": labels}
        name = "miniImageNet_category_split_train_phase_train.pickle"
    (folder / name).write_bytes(pickle.dumps(content, protocol))
    assert np.array_equal(stream().images.numpy(), images)


class Malice:
    def __reduce__(self) -> Any:
        return os.mkdir, ("harmed",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_malicious_pickle_is_refused_before_it_can_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    monkeypatch.chdir(folder)
    path = folder / "mini-imagenet-cache-train.pkl"
    path.write_bytes(pickle.dumps({"image_data": Malice(), "class_dict": {}}, protocol))
    with pytest.raises(DataError, match=r"is refused, because it asks for (posix|nt)\.mkdir"):
        _ = stream().images
    assert not (folder / "harmed").exists()


@pytest.mark.parametrize("name", ["builtins.eval", "numpy.load", "numpy.testing.run_module_suite"])
def test_no_function_but_numpys_constructors_can_be_named(folder: Path, name: str) -> None:
    module, _, function = name.rpartition(".")
    code = f"c{module}\n{function}\n(S'1'\ntR.".encode()
    (folder / "mini-imagenet-cache-train.pkl").write_bytes(code)
    with pytest.raises(DataError, match=f"it asks for {name}"):
        _ = stream().images


def test_damaged_or_strange_files_are_refused_in_a_sentence(folder: Path) -> None:
    path = folder / "mini-imagenet-cache-train.pkl"
    for content, sentence in (
        (pickle.dumps({"image_data": np.zeros(9)})[:-20], "is damaged"),
        (pickle.dumps([1, 2]), "holds no uint8 images of 84x84x3"),
        (pickle.dumps({"image_data": np.zeros((1, 84, 84, 3)), "class_dict": {}}), "holds no"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=sentence):
            _ = stream().images
    path.unlink()
    write_jpegs(folder, made_images())
    first = folder / "images" / "n0100000000.jpg"
    first.write_bytes(first.read_bytes()[:300])
    with pytest.raises(DataError, match=r"n0100000000.jpg' is damaged .*; replace it\."):
        _ = stream().images
    first.write_bytes(png_with_a_broken_chunk())
    with pytest.raises(DataError, match=r"n0100000000.jpg' is damaged .*; replace it\."):
        _ = stream().images
    first.unlink()
    with pytest.raises(DataError, match=r"1 of the images .* are missing, first 'n0100000000.jpg'"):
        _ = stream().images


def test_a_missing_copy_says_what_to_supply(folder: Path) -> None:
    with pytest.raises(
        DataError, match=r"set METAPLASTIC_DATA to a folder with miniimagenet/mini-"
    ):
        _ = stream(split="test").images


def test_a_data_folder_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAPLASTIC_DATA", "nowhere")
    with pytest.raises(DataError, match=r"METAPLASTIC_DATA names 'nowhere', which is not a folder"):
        _ = stream().images


def test_normalize_gives_imagenets_mean_and_deviation(folder: Path) -> None:
    write_jpegs(folder, made_images())
    plain = stream().sample(1, torch.Generator().manual_seed(0)).query_x
    normal = stream(normalize=True).sample(1, torch.Generator().manual_seed(0)).query_x
    mean = torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)
    torch.testing.assert_close(normal * deviation + mean, plain)
