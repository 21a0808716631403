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
        truncate: cut the graph every so many steps, so that the meta-gradient sees only the last
            ones. **Biased**: what was learned early in a lifetime gets no credit.
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


def unroll(step: Step, weights: FastWeights, stream: Stream, how: Unroll) -> FastWeights:
    """Run `step` along the `steps` axis of every tensor of the stream (`tasks steps ...`)."""
    steps = [
        dict(zip(stream, slices, strict=True))
        for slices in zip(*(tensor.unbind(1) for tensor in stream.values()), strict=True)
    ]
    segment = how.checkpoint_every
    if segment is None or not torch.is_grad_enabled():
        return _run(step, weights, steps, how.truncate, 0)
    for first in range(0, len(steps), segment):
        weights = checkpoint(  # type: ignore[assignment]
            _run, step, weights, steps[first : first + segment], how.truncate, first,
            use_reentrant=False, preserve_rng_state=False,
        )  # fmt: skip
    return weights


def _run(
    step: Step, weights: FastWeights, steps: list[Stream], truncate: int | None, first: int
) -> FastWeights:
    for index, given in enumerate(steps, first):
        if truncate is not None and index > 0 and index % truncate == 0:
            weights = {name: weight.detach() for name, weight in weights.items()}
        weights = step(weights, given)
    return weights
