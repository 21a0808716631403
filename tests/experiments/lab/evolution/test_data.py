"""The distribution of data: what is behind an image, and noise on it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from experiments.lab.evolution import data

PLAIN = data.Kind(0, 3, 40, pool=False)


@pytest.fixture(scope="module")
def given() -> list[data.Source]:
    """Blank images, but for the first pixel, which is that of their class."""
    images = torch.zeros(3, 6, 8, 8, dtype=torch.uint8)
    images[..., 0, 0] = torch.tensor([51, 102, 255])[:, None]
    return [data.Source(images, 2)]


def seen(given: list[data.Source], kind: data.Kind) -> tuple[Tensor, Tensor]:
    found = data.lifetimes_of(given, kind, 2, random.Random(0))
    return found.x, found.y


def test_what_is_behind_an_image_has_a_class_of_its_own(given: list[data.Source]) -> None:
    plain, y = seen(given, PLAIN)
    own = plain[:, :, 0, 0, 0]
    x, same = seen(given, replace(PLAIN, clutter=0.5))
    assert torch.equal(same, y)
    corner = x[:, :, 0, 0, 0]
    assert (corner >= own).all()
    darkest = {round(value, 5) for value in corner[own < 0.3].tolist()}
    assert darkest == {0.2, 0.5}  # of 0.1, 0.2 and 0.5 behind 0.2


@pytest.mark.parametrize("grain", data.GRAINS)
def test_noise_is_of_spots(given: list[data.Source], grain: int) -> None:
    plain, y = seen(given, PLAIN)
    x, same = seen(given, replace(PLAIN, noise=0.3, grain=grain))
    assert torch.equal(same, y)
    noise = x - plain
    assert 0.25 < noise.std() < 0.35
    spots = noise.unfold(-2, grain, grain).unfold(-2, grain, grain).flatten(-2)
    assert torch.allclose(spots, spots[..., :1].expand_as(spots), atol=1e-6)
    neighbors = spots[..., 0]
    assert (neighbors[..., 1:, :] != neighbors[..., :-1, :]).any()


def test_random_kinds_have_some_of_both(given: list[data.Source]) -> None:
    draw = random.Random(0)
    kinds = [data.random_kind(given, draw) for _ in range(60)]
    for name in ("clutter", "noise"):
        amounts = [getattr(kind, name) for kind in kinds]
        assert 15 < sum(amount == 0 for amount in amounts) < 45
        assert all(0 <= amount <= 1 for amount in amounts)
