"""Turned and mirrored images as classes of their own: those of a set that holds them all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from tasks.images import ArrayImages


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_rotations_make_each_quarter_turn_a_class_of_its_own() -> None:
    array = torch.randint(0, 256, (3, 4, 5, 5), generator=seeded(), dtype=torch.uint8)
    turned = torch.cat([array.rot90(turn, (2, 3)) for turn in range(4)])  # copied four times
    options: dict[str, Any] = {"ways": 7, "shots": 2, "queries_per_class": 2, "labels": "global"}
    by_index = ArrayImages(array=array, rotations=True, **options)
    copied = ArrayImages(array=turned, **options)
    assert by_index.classes == copied.classes == 12
    drawn, expected = by_index.sample(6, seeded(1)), copied.sample(6, seeded(1))
    assert all(torch.equal(a, b) for a, b in zip(drawn, expected, strict=True))


@pytest.mark.parametrize("rotations", [False, True])
def test_reflections_make_each_mirrored_image_a_class_of_its_own(rotations: bool) -> None:
    array = torch.randint(0, 256, (3, 4, 5, 5), generator=seeded(), dtype=torch.uint8)
    turns = range(4 if rotations else 1)
    every = [one.rot90(turn, (2, 3)) for one in (array, array.flip(3)) for turn in turns]
    options: dict[str, Any] = {"ways": 6, "shots": 2, "queries_per_class": 2, "labels": "global"}
    by_index = ArrayImages(array=array, rotations=rotations, reflections=True, **options)
    copied = ArrayImages(array=torch.cat(every), **options)  # copied two or eight times
    assert by_index.classes == copied.classes == 6 * len(turns)
    drawn, expected = by_index.sample(6, seeded(1)), copied.sample(6, seeded(1))
    assert all(torch.equal(a, b) for a, b in zip(drawn, expected, strict=True))
    fewer = replace(by_index, ways=3)
    assert fewer.spec.fingerprint != replace(fewer, reflections=False).spec.fingerprint
