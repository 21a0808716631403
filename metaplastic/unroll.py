"""Unrolling a lifetime: the loop over inner steps, and what to keep of it for the meta-gradient.

Settings, not identity: the same learner may be meta-trained with or without them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from metaplastic.stack import FastWeights

Stream = dict[str, Tensor]  # what a lifetime is given: `x`, `target`, ...
Step = Callable[[FastWeights, Stream], FastWeights]


@dataclass(frozen=True)
class Unroll:
    """How a lifetime is run while meta-training.

    Args:
        checkpoint_every: keep the fast weights only every so many steps and recompute the rest in
            the backward pass. Exact; memory falls to the square root of the lifetime when this is
            its square root, for one more forward pass. On Linux the freed memory is only given
            back with `MALLOC_MMAP_THRESHOLD_=65536` in the environment.
        truncate: only the last so many steps are seen by the meta-gradient; those before them run
            without a graph. **Biased**: what was learned early in a lifetime gets no credit, and
            the weights at birth get none at all.
        compile: compile the inner step with `torch.compile`; checked against the uncompiled
            meta-gradient once, with a warning and a fall back where they differ or where there
            is no compiler.
    """

    checkpoint_every: int | None = None
    truncate: int | None = None
    compile: bool = False

    def __post_init__(self) -> None:
        for name in ("checkpoint_every", "truncate"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it needs at least 1 step, or None for never.")


def unroll(
    step: Step, weights: FastWeights, stream: Stream, how: Unroll, passes: int = 1
) -> FastWeights:
    """Run `step` along the `steps` axis of every tensor of the stream (`tasks steps ...`)."""
    steps = [
        dict(zip(stream, slices, strict=True))
        for slices in zip(*(tensor.unbind(1) for tensor in stream.values()), strict=True)
    ] * passes
    if not torch.is_grad_enabled():
        return _run(step, weights, steps)
    if how.truncate is not None and how.truncate < len(steps):
        with torch.no_grad():
            weights = _run(step, weights, steps[: -how.truncate])
        steps = steps[-how.truncate :]
    segment = how.checkpoint_every
    if segment is None:
        return _run(step, weights, steps)
    for first in range(0, len(steps), segment):
        weights = checkpoint(
            _run, step, weights, steps[first : first + segment],
            use_reentrant=False, preserve_rng_state=False,
        )  # fmt: skip
    return weights


def _run(step: Step, weights: FastWeights, steps: list[Stream]) -> FastWeights:
    for given in steps:
        weights = step(weights, given)
    return weights
