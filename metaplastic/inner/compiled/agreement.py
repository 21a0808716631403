"""Whether what was compiled gives the numbers of what was not."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import torch
from torch import Tensor

BOUNDS = {torch.float64: 1e-9}  # of a difference, relative to the largest entry
OTHERWISE = 1e-4


def agree(what: str, expected: Iterable[Tensor], found: Iterable[Tensor]) -> bool:
    """Whether values and slopes agree; if not, a warning says of `what` how far they are apart."""
    for one, other in zip(expected, found, strict=True):
        size = one.detach().abs().max().clamp_min(1e-12)
        difference = float((one.detach() - other).abs().max() / size)
        if not difference <= BOUNDS.get(one.dtype, OTHERWISE):
            warnings.warn(
                f"{what} gives another meta-gradient than uncompiled (relative difference "
                f"{difference:.1e}); it runs uncompiled.",
                stacklevel=5,
            )
            return False
    return True
