"""Unrolling a lifetime: the loop over inner steps, and what to keep of it for the meta-gradient.

Settings, not identity: the same learner may be meta-trained with or without them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from metaplastic.inner.recompute import recomputed
from metaplastic.stacked.stack import FastWeights
from metaplastic.support.choices import check_choice

Precision = Literal["float32", "bfloat16"]
Given = dict[str, Tensor]  # what a lifetime is given: `x`, `target`, ...
Live = Callable[[FastWeights, Given], FastWeights]


@dataclass(frozen=True)
class Unroll:
    """How a lifetime is run while meta-training.

    Args:
        checkpoint_every: keep the fast weights only every so many steps, counted from the end, and
            recompute the rest in the backward pass. Exact. With the square root of the lifetime,
            memory falls to its square root, for one more forward pass of all segments but the last.
            On Linux freed memory is given back only with `MALLOC_MMAP_THRESHOLD_=65536` in the
            environment.
        truncate: only the last so many steps are seen by the meta-gradient; those before them run
            without a graph. **Biased**: what was learned early in a lifetime gets no credit, and
            the weights at birth get none at all.
        encoder: `bfloat16` runs in train mode, by autocast and channels last, all that is frozen
            within a lifetime: about twice as fast where a processor knows that type. What comes out
            of it, what the rule does, and all of eval mode keep their precision.
        both_ways: each lifetime is lived a second time in train mode, from its questions, and asked
            about its lessons. The encoder runs once for both, so where that is what a meta-step
            costs, a meta-gradient rests on twice the questions for the same price.
        compile: compile inner steps with `torch.compile`, a few at a time; checked against the
            uncompiled meta-gradient once, with a warning and a fall back where they differ or
            where there is no compiler.

    Raises:
        ValueError: for fewer than 1 step, or an unknown precision.
    """

    checkpoint_every: int | None = None
    truncate: int | None = None
    compile: bool = False
    encoder: Precision = "float32"
    both_ways: bool = False

    def __post_init__(self) -> None:
        check_choice("encoder", self.encoder, Precision)
        for name in ("checkpoint_every", "truncate"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it needs at least 1 step, or None for never.")


def unroll(
    live: Live,
    weights: FastWeights,
    life: Given,
    how: Unroll,
    *,
    passes: int = 1,
    at_once: int | None = None,
    leaves: Sequence[Tensor] | None = None,
) -> FastWeights:
    """Run `live` along the `steps` axis of every tensor of the life (`tasks steps ...`).

    `live` takes steps first, `steps tasks ...`, and at most `at_once` of them.

    Args:
        leaves: all that `live` uses beside its arguments and that may have a gradient; given where
            it calls `torch.func.grad`, within which autograd's own checkpoints are not possible.
    """
    given = {name: torch.cat([tensor.movedim(1, 0)] * passes) for name, tensor in life.items()}
    first, steps = 0, _length(given)
    if not torch.is_grad_enabled():
        return _run(live, weights, given, at_once)
    if how.truncate is not None and how.truncate < steps:
        first = steps - how.truncate
        with torch.no_grad():
            weights = _run(live, weights, _part(given, 0, first), at_once)
    *earlier, last = reversed(range(steps, first, -(how.checkpoint_every or steps)))
    for end in earlier:
        segment = partial(_run, live, at_once=at_once)
        if leaves is not None:
            weights = recomputed(segment, weights, _part(given, first, end), leaves)
        else:
            weights = checkpoint(
                segment, weights, _part(given, first, end),
                use_reentrant=False, preserve_rng_state=False,
            )  # fmt: skip
        first = end
    # Its backward pass comes at once, so nothing would be saved by forgetting the last segment.
    return _run(live, weights, _part(given, first, last), at_once)


def _run(live: Live, weights: FastWeights, given: Given, at_once: int | None) -> FastWeights:
    size = even(_length(given), at_once)
    for first in range(0, _length(given), size):
        weights = live(weights, _part(given, first, first + size))
    return weights


def usual_piece(steps: int, how: Unroll, at_once: int) -> int:
    """How many steps at a time `unroll` lives, but perhaps for a first segment that is shorter."""
    if torch.is_grad_enabled():
        steps = min(steps, how.truncate or steps, how.checkpoint_every or steps)
    return even(steps, at_once)


def even(steps: int, at_once: int | None) -> int:
    """The largest number of steps, up to `at_once`, that goes into `steps` without a rest."""
    return next(size for size in range(min(steps, at_once or steps), 0, -1) if steps % size == 0)


def _length(given: Given) -> int:
    return next(iter(given.values())).shape[0]


def _part(given: Given, first: int, end: int) -> Given:
    return {name: tensor[first:end] for name, tensor in given.items()}
