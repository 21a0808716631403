"""Distorted images: how far they move, where their ink comes from, and what stays as it was."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.distort import KNOTS, affine_maps, distorted, distortions, elastic_maps, rotated
from tasks.images import ArrayImages


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_hand(image: Tensor, sources: Tensor) -> Tensor:
    """Each pixel (height width) from its source (height width 2), in pixels, zeros outside."""
    height, width = image.shape
    seen = torch.zeros(height, width)
    for row in range(height):
        for column in range(width):
            x, y = sources[row, column].tolist()
            for i in (math.floor(y), math.floor(y) + 1):
                for j in (math.floor(x), math.floor(x) + 1):
                    if 0 <= i < height and 0 <= j < width:
                        share = (1 - abs(y - i)) * (1 - abs(x - j))
                        seen[row, column] += share * image[i, j]
    return seen


@pytest.mark.parametrize(("height", "width"), [(9, 9), (7, 12)])
@pytest.mark.parametrize(("distort", "elastic"), [(1.5, 0.0), (0.0, 2.0), (1.0, 1.0)])
def test_every_pixel_comes_from_where_its_map_and_its_bend_say(
    height: int, width: int, distort: float, elastic: float
) -> None:
    x = torch.rand(3, 2, height, width, generator=seeded(1))
    seen = distorted(x, distortions(3, distort, elastic, seeded()))
    again = seeded()
    maps = affine_maps(3, distort, again)
    center = torch.tensor([(width - 1) / 2, (height - 1) / 2])
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    place = torch.stack([column, row], -1) - center  # pixels
    sources = torch.einsum("nde,hwe->nhwd", maps[:, :, :2], place)
    sources = sources + maps[:, None, None, :, 2] * width / 2 + center
    if elastic:
        knots = elastic_maps(3, elastic, again).view(3, 2, KNOTS, KNOTS)
        smooth = F.interpolate(knots, (height, width), mode="bicubic", align_corners=True)
        sources = sources + smooth.movedim(1, -1) * width / 2
    for n in range(3):
        for channel in range(2):
            expected = by_hand(x[n, channel], sources[n])
            torch.testing.assert_close(seen[n, channel], expected, atol=1e-4, rtol=0)


def test_a_turn_within_the_map_is_a_turn_before_it() -> None:
    x, turns = torch.rand(8, 3, 9, 9, generator=seeded(1)), torch.arange(8) % 4
    sources = distortions(8, 1.0, 1.0, seeded())
    before = torch.stack([one.rot90(int(k), (1, 2)) for one, k in zip(x, turns, strict=True)])
    seen = distorted(x, rotated(sources, turns))
    torch.testing.assert_close(seen, distorted(before, sources), atol=1e-5, rtol=0)


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_images_are_turned_stretched_slanted_and_shifted_as_far_as_stated(
    strength: float,
) -> None:
    maps = affine_maps(100_000, strength, seeded())
    right, below = maps.unbind(1)
    angle = torch.atan2(below[:, 0], right[:, 0])
    across = maps[:, :, 0].norm(dim=1)
    down = torch.linalg.det(maps[:, :, :2]) / across
    slant = (maps[:, :, 0] * maps[:, :, 1]).sum(1) / across
    for drawn, mean, deviation in (
        (angle, 0, 0.15), (across, 1, 0.1), (down, 1, 0.1), (slant, 0, 0.12),
        (right[:, 2], 0, 0.06), (below[:, 2], 0, 0.06),
        (elastic_maps(2000, strength, seeded()), 0, 0.06),
    ):  # fmt: skip
        assert abs(float(drawn.mean()) - mean) < 0.002
        assert abs(float(drawn.std()) - strength * deviation) < 0.002


def test_what_is_off_draws_nothing() -> None:
    x, generator = torch.rand(4, 1, 6, 6, generator=seeded()), seeded()
    still = distorted(x, distortions(4, 0.0, 0.0, generator))
    torch.testing.assert_close(still, x, atol=1e-5, rtol=0)
    assert torch.equal(generator.get_state(), seeded().get_state())
    first, afterwards = (distortions(4, 0.0, 1.0, one) for one in (seeded(), generator))
    assert torch.equal(first, afterwards)


def made_images(size: int = 16) -> Tensor:
    return torch.randint(0, 256, (6, 10, size, size), generator=seeded(), dtype=torch.uint8)


def stream(**options: Any) -> ArrayImages:
    return ArrayImages(array=made_images(), rotations=True, **options)


@pytest.mark.parametrize("options", [{"distort": 1.0}, {"elastic": 1.0}, {"labels": "global"}])
def test_a_distorted_lifetime_is_the_same_lifetime_but_for_its_pixels(
    options: dict[str, Any],
) -> None:
    if "labels" in options:
        options = {**options, "remember": 8, "distort": 0.5, "elastic": 0.5}
    kept = {name: options[name] for name in ("labels", "remember") if name in options}
    plain, bent = stream(**kept).sample(3, seeded()), stream(**options).sample(3, seeded())
    for name, before, after in zip(plain._fields, plain, bent, strict=True):
        assert torch.equal(before, after) == (not name.endswith("_x"))
        assert before.shape == after.shape
    weak = {name: 1e-6 for name in ("distort", "elastic") if name in options}
    barely = stream(**kept, **weak).sample(3, seeded())
    torch.testing.assert_close(barely.support_x, plain.support_x, atol=1e-3, rtol=0)
    torch.testing.assert_close(barely.query_x, plain.query_x, atol=1e-3, rtol=0)


@pytest.mark.parametrize("options", [{}, {"distort": 1.0, "elastic": 1.0}])
def test_images_are_the_same_however_many_are_prepared_together(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    together = stream(ways=6, **options).sample(3, seeded())
    monkeypatch.setattr("tasks.images.AT_ONCE", 4 * 16 * 16)
    in_parts = stream(ways=6, **options).sample(3, seeded())
    for whole, parts in zip(together, in_parts, strict=True):
        torch.testing.assert_close(parts, whole, atol=1e-6, rtol=0)


def test_distortions_come_from_the_generator_alone_and_no_two_are_alike() -> None:
    array = made_images()[:, :1].expand(-1, 10, -1, -1).contiguous()  # one image a class
    options: dict[str, Any] = {"ways": 2, "order": "by_class", "distort": 1.0, "elastic": 1.0}
    copies = ArrayImages(array=array, **options)
    torch.manual_seed(torch.seed())
    first, again = copies.sample(2, seeded(3)), copies.sample(2, seeded(3))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    seen = torch.cat([first.support_x.flatten(0, 2), first.query_x.flatten(0, 1)])
    assert len(torch.unique(seen.flatten(1), dim=0)) == len(seen)


@dataclass(frozen=True, kw_only=True)
class BlackInk(ArrayImages):
    def finish(self, x: Tensor) -> Tensor:
        return 1 - x


def test_around_a_image_there_is_paper_whatever_number_that_is() -> None:
    inked = torch.full((5, 10, 16, 16), 255, dtype=torch.uint8)
    options: dict[str, Any] = {"distort": 2.0, "elastic": 1.0}
    white = ArrayImages(array=inked, **options).sample(2, seeded()).support_x
    black = BlackInk(array=inked, **options).sample(2, seeded()).support_x
    assert white.min() == 0
    assert white.max() <= 1 + 1e-6
    assert torch.equal(black, 1 - white)


def test_the_fingerprint_says_that_images_are_distorted() -> None:
    prints = {stream(**o).spec.fingerprint for o in ({}, {"distort": 1.0}, {"elastic": 1.0})}
    assert len(prints) == 3
    assert stream(distort=0.0).spec.fingerprint == stream().spec.fingerprint


@pytest.mark.parametrize("name", ["distort", "elastic"])
@pytest.mark.parametrize("strength", [-0.1, math.inf, math.nan])
def test_a_strength_that_is_none_is_refused(name: str, strength: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is {strength}; it must be 0 for none, or a fin"):
        stream(**{name: strength})
