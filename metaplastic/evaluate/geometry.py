"""Geometry of weight updates: cosines, angles, overlap and effective rank.

A stack of updates is `tasks updates numbers`: one row per example, its update of one site.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHANGED = 1e-3  # of an update's largest entry: smaller entries do not count as changed


def cosines(updates: Tensor) -> Tensor:
    """Cosines of all pairs, in [-1, 1]; NaN where an update is zero."""
    unit = updates / updates.norm(dim=-1, keepdim=True)  # 0 / 0, which is NaN
    found: Tensor = (unit @ unit.mT).clamp(-1, 1)
    return found


def angles(one: Tensor, other: Tensor) -> Tensor:
    """Degrees between paired rows, `tasks updates numbers` each -> `tasks updates`.

    Exact for small angles too, which the arc cosine is not: twice the arc tangent of
    `|u - v| / |u + v|` of the unit vectors (Kahan). NaN where a row is zero.
    """
    u, v = (rows / rows.norm(dim=-1, keepdim=True) for rows in (one, other))
    half = torch.atan2((u - v).norm(dim=-1), (u + v).norm(dim=-1))
    return torch.rad2deg(2 * half)


def overlaps(updates: Tensor) -> Tensor:
    """Jaccard overlap of the entries that two updates change: `tasks updates updates`.

    An entry counts as changed if it exceeds `CHANGED` of the update's largest entry. NaN where
    neither update changes anything.
    """
    size = updates.abs()
    largest = size.amax(-1, keepdim=True)
    changed = ((size > CHANGED * largest) & (largest > 0)).to(updates.dtype)
    both = changed @ changed.mT
    count = changed.sum(-1)
    return both / (count[:, :, None] + count[:, None] - both)


def effective_rank(matrices: Tensor) -> Tensor:
    """The participation ratio `(sum s^2)^2 / sum s^4` of the singular values s.

    It is r for r equal singular values, 1 for a single outer product.
    `... post pre` -> `...`; NaN for a zero matrix, or one that is not finite.
    """
    finite = matrices.isfinite().all(-1).all(-1)
    matrices = matrices.where(finite[..., None, None], 0.0)
    values = torch.linalg.svdvals(matrices)
    # Relative to the largest: fourth powers of small or large numbers would under- or overflow.
    power: Tensor = (values / values[..., :1]).square()
    total: Tensor = power.sum(-1)
    return total.square() / power.square().sum(-1)
