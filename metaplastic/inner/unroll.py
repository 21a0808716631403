"""Unrolling a lifetime: the loop over inner steps, and what is kept of it for the meta-gradient.

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
Given = dict[str, Tensor]  # the data of lifetimes by name: `x`, `target`, ...
Run = Callable[[FastWeights, Given], FastWeights]


@dataclass(frozen=True)
class Unroll:
    """How a lifetime is run while meta-training.

    Args:
        checkpoint_every: keep the fast weights only every so many steps, counted from the end, and
            recompute the rest in the backward pass. Exact. With the square root of the lifetime,
            memory falls to its square root, for one more forward pass of all segments but the last.
            On Linux freed memory is given back only with `MALLOC_MMAP_THRESHOLD_=65536` in the
            environment.
        truncate: the meta-gradient is that of the last so many steps; those before them run without
            a graph. **Biased**: steps early in a lifetime get no credit, and the initial weights
            get no gradient.
        encoder: `bfloat16` runs in train mode, by autocast and channels last, all that is frozen
            within a lifetime: about twice as fast on processors that support that type. Its output,
            the learning rule, and all of eval mode keep their precision.
        both_ways: in train mode each lifetime is run a second time, with support and query sets
            exchanged. The encoder runs once for both, so where it dominates the cost of a
            meta-step, a meta-gradient has twice the queries at the same cost.
        compile: run a lifetime of up to 16 steps, with its meta-gradient, as one program, and a
            longer one of a plain chain a few steps at a time: as machine code by PyTorch's
            compiler, made in seconds to a minute and kept on disk for the next process. It is
            compared once with the uncompiled meta-gradient; where they differ, or there is no
            compiler, a warning says so, and it runs uncompiled.

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
    run: Run,
    weights: FastWeights,
    lifetimes: Given,
    how: Unroll,
    *,
    passes: int = 1,
    at_once: int | None = None,
    leaves: Sequence[Tensor] | None = None,
) -> FastWeights:
    """Run `run` along the `steps` axis of every tensor of `lifetimes` (`tasks steps ...`).

    `run` takes steps first, `steps tasks ...`, and at most `at_once` of them.

    Args:
        leaves: all tensors beside the arguments of `run` that may have a gradient; given where it
            calls `torch.func.grad`, within which autograd's own checkpoints are not possible.
    """
    given = {name: tensor.movedim(1, 0) for name, tensor in lifetimes.items()}
    if passes > 1:
        given = {name: torch.cat([tensor] * passes) for name, tensor in given.items()}
    first, steps = 0, _length(given)
    if not torch.is_grad_enabled():
        return _run(run, weights, given, at_once)
    if how.truncate is not None and how.truncate < steps:
        first = steps - how.truncate
        with torch.no_grad():
            weights = _run(run, weights, _part(given, 0, first), at_once)
    *earlier, last = reversed(range(steps, first, -(how.checkpoint_every or steps)))
    for end in earlier:
        segment = partial(_run, run, at_once=at_once)
        if leaves is not None:
            weights = recomputed(segment, weights, _part(given, first, end), leaves)
        else:
            weights = checkpoint(
                segment, weights, _part(given, first, end),
                use_reentrant=False, preserve_rng_state=False,
            )  # fmt: skip
        first = end
    # Its backward pass comes first, so recomputing the last segment would save no memory.
    return _run(run, weights, _part(given, first, last), at_once)


def _run(run: Run, weights: FastWeights, given: Given, at_once: int | None) -> FastWeights:
    size = even_length(_length(given), at_once)
    for first in range(0, _length(given), size):
        weights = run(weights, _part(given, first, first + size))
    return weights


def segment_length(steps: int, how: Unroll, at_once: int) -> int:
    """The number of steps that `unroll` runs at a time; the first segment may be shorter."""
    if torch.is_grad_enabled():
        steps = min(steps, how.truncate or steps, how.checkpoint_every or steps)
    return even_length(steps, at_once)


def even_length(steps: int, at_once: int | None) -> int:
    """The largest divisor of `steps` that is not above `at_once`."""
    return next(size for size in range(min(steps, at_once or steps), 0, -1) if steps % size == 0)


def _length(given: Given) -> int:
    return next(iter(given.values())).shape[0]


def _part(given: Given, first: int, end: int) -> Given:
    return {name: tensor[first:end] for name, tensor in given.items()}
