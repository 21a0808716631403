"""Random affine and elastic distortions of images (data augmentation).

Both distortions are linear in the sampled numbers: the source coordinates of a pixel are a sum of
fixed fields (its position, a constant, smooth bumps), each times a number of that image. So one
matrix product gives the grid of a meta-batch, which is bilinearly interpolated.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

ANGLE = 0.15  # radians; this and the others are standard deviations at strength 1
SCALE = 0.1  # of each axis, around 1
SHEAR = 0.12
SHIFT = 0.06  # of half the width, as is the next
BEND = 0.06
KNOTS = 5  # a side; bends are drawn on so many, and smooth in between


def distortions(number: int, distort: float, elastic: float, generator: torch.Generator) -> Tensor:
    """A small random map for each of `number` images: number 2 fields, for `distorted`.

    `distort` scales the affine part, `elastic` the elastic part; with 0 nothing is sampled.
    """
    sources = affine_maps(number, distort, generator)
    if elastic:
        sources = torch.cat([sources, elastic_maps(number, elastic, generator)], -1)
    return sources


def rotated(sources: Tensor, turns: Tensor) -> Tensor:
    """The maps of `distortions` for square images first rotated by 90 degrees `turns` times.

    Rotating the maps costs less than rotating the images.
    """
    x, y = sources.unbind(1)
    quarters = torch.stack([sources, torch.stack([-y, x], 1), -sources, torch.stack([y, -x], 1)])
    return quarters[turns, torch.arange(len(turns))]


def distorted(x: Tensor, sources: Tensor) -> Tensor:
    """Images (n channels height width), each by its own map of `distortions`.

    Around an image there are zeros.
    """
    number, _, height, width = x.shape
    # The maps are in half widths either way, so that a turn is one in images of any shape.
    sources = sources * torch.tensor([[1.0], [width / height]])
    fields = _fields(height, width)[: sources.shape[-1]]
    grid = (sources.flatten(0, 1) @ fields).view(number, 2, height, width)
    return F.grid_sample(x, grid.permute(0, 2, 3, 1), align_corners=False)


def affine_maps(number: int, strength: float, generator: torch.Generator) -> Tensor:
    """From where a point is seen to where its ink comes from: number 2 3, in half widths."""
    if not strength:
        return torch.eye(2, 3).repeat(number, 1, 1)
    angle, shear, *rest = strength * torch.randn(6, number, generator=generator)
    turn, slant = ANGLE * angle, SHEAR * shear
    across, down = 1 + SCALE * rest[0], 1 + SCALE * rest[1]
    cos, sin = turn.cos(), turn.sin()
    # A turn after a stretch of both axes and a slant.
    right = torch.stack([cos * across, cos * slant - sin * down, SHIFT * rest[2]], -1)
    below = torch.stack([sin * across, sin * slant + cos * down, SHIFT * rest[3]], -1)
    return torch.stack([right, below], 1)


def elastic_maps(number: int, strength: float, generator: torch.Generator) -> Tensor:
    """Displacements of the knots of every image, row by row: number 2 knots, in half widths."""
    return strength * BEND * torch.randn(number, 2, KNOTS * KNOTS, generator=generator)


@cache
def _fields(height: int, width: int) -> Tensor:
    """x, y and 1 in half widths, then each knot's bump: 3 + knots, pixels."""
    x = (2 * torch.arange(width) + 1) / width - 1
    y = ((2 * torch.arange(height) + 1) / height - 1) * height / width
    place = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)])
    one_each = torch.eye(KNOTS * KNOTS).view(-1, 1, KNOTS, KNOTS)
    bumps = F.interpolate(one_each, size=(height, width), mode="bicubic", align_corners=True)
    return torch.cat([place, torch.ones(1, height, width), bumps[:, 0]]).flatten(1)
