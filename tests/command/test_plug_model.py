"""Rules put into networks of torchvision and timm by the command line."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from metaplastic.command import networks
from metaplastic.command.images import patterns
from metaplastic.command.parser import main


class Small(nn.Sequential):
    """A network that learns the patterns in a few examples, and a weight that nothing reaches."""

    def __init__(self, classes: int) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
            nn.Linear(128, classes),
        )  # fmt: skip
        self.spare = nn.Parameter(torch.zeros(2, 2))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(name: str, classes: int, pretrained: bool) -> tuple[nn.Module, str, int]:
        return Small(classes), "a test", 16

    monkeypatch.setattr("metaplastic.command.adapt.network", made)


def accuracies(text: str) -> list[int]:
    (line,) = [line for line in text.splitlines() if line.startswith("accuracy")]
    return [int(number) for number in re.findall(r"(\d+) %", line)]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("rule", "rate"), [("bp", "0.03"), ("omniglot_relative", "1")])
def test_a_network_learns_and_what_was_reached_is_said(
    rule: str, rate: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plug", rule, "--model", "small", "--examples", "160", "--rate", rate]) == 0
    text = capsys.readouterr().out
    assert "reached: 2 sites, 0, 4" in text
    assert "not reached: spare, never used on the example" in text
    assert "learned 160 examples, one at a time (patterns in noise, 5 classes)" in text
    first, last, chance = accuracies(text)
    assert chance == 20
    assert last > 60 > first


@pytest.mark.usefixtures("small")
def test_a_folder_of_images_is_learned_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for name, color in (("red", (200, 20, 20)), ("blue", (20, 20, 200))):
        (tmp_path / name).mkdir()
        for number in range(12):
            image.new("RGB", (30, 20), color).save(tmp_path / name / f"{number}.png")
    words = ["plug", "bp", "--model", "small", "--data", str(tmp_path)]
    assert main([*words, "--rate", "0.05"]) == 0
    text = capsys.readouterr().out
    assert "learned 24 examples" in text
    assert f"images of {tmp_path}, classes blue, red" in text
    assert accuracies(text)[1:] == [100, 50]
    (tmp_path / "red" / "0.png").write_bytes(b"no image")
    assert main([*words, "--seed", "1"]) == 2
    assert "0.png cannot be read as an image" in capsys.readouterr().err
    for path in (tmp_path / "red").iterdir():
        path.unlink()
    assert main(words) == 2
    assert "has 1 folders with images; at least two are needed" in capsys.readouterr().err


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["omniglot_readout"], "hidden_multiplier or sums over the batch"),
        (["tp"], "cannot be put into small"),
        (["bp", "--rate", "1e30"], "learning diverged at example"),
    ],
)
def test_what_does_not_fit_or_diverges_is_a_sentence(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plug", *words, "--model", "small", "--examples", "9"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_without_either_package_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(networks, "find_spec", lambda name: None)
    assert main(["plug", "bp", "--model", "resnet18"]) == 2
    assert "neither is installed: `pip install torchvision`" in capsys.readouterr().err


def test_a_package_that_cannot_be_imported_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    networks._names.cache_clear()
    monkeypatch.setattr(networks, "find_spec", lambda name: name == "timm" or None)
    monkeypatch.setitem(sys.modules, "timm", None)
    assert main(["plug", "bp", "--model", "resnet18"]) == 2
    assert "timm is installed, but cannot be imported" in capsys.readouterr().err


def test_patterns_are_the_same_for_a_seed_and_of_every_class() -> None:
    def made(seed: int) -> list[tuple[Tensor, Tensor]]:
        return list(patterns(3, 20, 16, seed))

    first, again, other = made(0), made(0), made(1)
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], other[0][0])
    assert {int(y) for _, y in first} == {0, 1, 2}
    assert first[0][0].shape == (1, 3, 16, 16)


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("torchvision") is None or find_spec("timm") is None,
    reason="torchvision or timm is not installed: extra zoo",
)
@pytest.mark.parametrize("model", ["resnet18", "mobilenetv3_small_050"])
def test_a_network_of_another_package_is_reached_in_every_site(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plug", "omniglot_relative", "--model", model, "--examples", "3", "--size", "32"]
    assert main(words) == 0
    text = capsys.readouterr().out
    package, sites = ("torchvision", 21) if model == "resnet18" else ("timm", 54)
    assert f"{model} of {package}, 5 outputs, images 3 x 32 x 32" in text
    assert f"reached: {sites} sites" in text
    assert "not reached: nothing" in text
    assert main([*words[:3], "resnet1"]) == 2
    assert "is no network of torchvision or timm. Did you mean" in capsys.readouterr().err
