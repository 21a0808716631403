"""Glyphs: synthetic handwritten characters, generated when needed.

A class is a few strokes, lines and curves; an instance is the same strokes with noise: control
points are jittered, the character is rotated, stretched, slanted and shifted, and the pen width
varies. The stream replaces Omniglot on a machine without the archives or a network. The noise is
chosen so that the nearest mean of raw pixels is about as accurate as on Omniglot (5-way 5-shot:
71 % here, 70 % there), but results on the two are not comparable.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.data import one_of
from tasks.images import FewShotImages

CLASSES = {"train": 1000, "validation": 200, "test": 400}
INSTANCES = 20
SIZE = 28
STROKES = 4  # at most; at least two
INK_POINTS = 48  # along a stroke, close enough to leave no gap


@dataclass(frozen=True, kw_only=True)
class Glyphs(FewShotImages):
    """Few-shot lifetimes of synthetic characters; other options as for `FewShotOptions`.

    `seed` determines the alphabets. The splits are sampled independently and share no class.
    """

    split: Literal["train", "validation", "test"] = "train"
    seed: int = 0

    name: ClassVar[str] = "glyphs"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("split", self.split, CLASSES)

    def load_images(self) -> Tensor:
        return draw(self.split, self.seed)


@cache
def draw(split: str, seed: int) -> Tensor:
    """All characters of a split: uint8, classes instances 28 28, ink 255 on 0."""
    generator = torch.Generator().manual_seed(1000 * seed + list(CLASSES).index(split))
    strokes, present = invent(CLASSES[split], generator)
    points = handwrite(strokes, generator)  # classes instances strokes points 2
    hands = points.shape[:2]
    present = present[:, None].expand(*hands, -1)
    thickness = 0.05 + 0.4 * torch.rand(hands, generator=generator)
    images = render(points.flatten(0, 1), present.flatten(0, 1), thickness.flatten())
    return images.reshape(*hands, SIZE, SIZE)


def invent(classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Cubic strokes of unit extent (classes strokes 4 2), and which of them are present."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    start, end = uniform(classes, STROKES, 2), uniform(classes, STROKES, 2)
    away = end - start
    length = away.norm(dim=-1, keepdim=True).clamp_min(1e-3)
    # A stroke too short to see would make two classes alike.
    end = (start + away / length * length.clamp_min(0.45)).clamp(0, 1)
    # Most strokes of a script begin on one before them; a scatter of strokes is no character.
    for stroke in range(1, STROKES):
        joint = torch.lerp(start[:, stroke - 1], end[:, stroke - 1], uniform(classes, 1).round())
        joined = uniform(classes, 1) < 0.6
        start[:, stroke] = torch.where(joined, joint, start[:, stroke])
    curved = uniform(classes, STROKES, 1, 1) < 0.6
    bend = 0.9 * (uniform(classes, STROKES, 2, 2) - 0.5) * curved
    inner = torch.stack([torch.lerp(start, end, 1 / 3), torch.lerp(start, end, 2 / 3)], 2) + bend
    strokes = torch.cat([start[:, :, None], inner, end[:, :, None]], 2)
    present = torch.arange(STROKES) < 2 + (uniform(classes, 1) * (STROKES - 1)).long()
    # Writers fill the line: the strokes in use are centered and scaled to one size.
    shown = strokes.where(present[..., None, None], strokes[:, :1]).flatten(1, 2)
    low, high = shown.amin(1)[:, None, None], shown.amax(1)[:, None, None]
    return (strokes - (low + high) / 2) / (high - low).amax(-1, keepdim=True), present


def handwrite(strokes: Tensor, generator: torch.Generator) -> Tensor:
    """Every class by every hand, in pixels: classes instances strokes points 2."""
    classes = strokes.shape[0]

    def normal(*shape: int) -> Tensor:
        return torch.randn(classes, INSTANCES, *shape, generator=generator)

    written = strokes[:, None] + 0.06 * normal(*strokes.shape[1:])
    t = torch.linspace(0, 1, INK_POINTS)
    bernstein = torch.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    curves = torch.einsum("...kd,kp->...pd", written, bernstein)
    angle, slant, stretch = 0.2 * normal(1), 0.2 * normal(1), 1 + 0.12 * normal(2)
    turn = torch.cat([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1)
    turn = turn.reshape(classes, INSTANCES, 2, 2)
    shear = torch.diag_embed(stretch) + slant[..., None] * torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    moved = torch.einsum("cied,cispd->cispe", turn @ shear, curves) + 0.08 * normal(1, 1, 2)
    return (0.75 * moved + 0.5) * (SIZE - 1)


def render(points: Tensor, present: Tensor, thickness: Tensor) -> Tensor:
    """Strokes (n strokes points 2) as images (n 28 28), those strokes that are `present`.

    Each point leaves a drop of as much ink as the pen has traveled; four pixels share it, it
    spreads to their neighbors by `thickness` (n), and paper that has had enough takes no more.
    """
    number = points.shape[0]
    points = points.clamp(1, SIZE - 2.01)
    traveled = F.pad(points.diff(dim=2).norm(dim=-1), (1, 0)) * present[..., None]
    corner = points.floor()
    right, down = (points - corner).unbind(-1)
    column, row = corner.long().unbind(-1)
    pixel = torch.arange(number)[:, None, None] * SIZE * SIZE + row * SIZE + column
    paper = torch.zeros(number * SIZE * SIZE)
    for step, share in (
        (0, (1 - right) * (1 - down)),
        (1, right * (1 - down)),
        (SIZE, (1 - right) * down),
        (SIZE + 1, right * down),
    ):
        paper.index_add_(0, (pixel + step).flatten(), (share * traveled).flatten())
    sheets = paper.view(number, SIZE, SIZE)
    for axis in (1, 2):  # the margin is empty, so nothing comes around the edge
        sheets = sheets + thickness[:, None, None] * (sheets.roll(1, axis) + sheets.roll(-1, axis))
    return (255 * sheets.clamp(max=1)).to(torch.uint8)
