"""Adaptive plasticity: each synapse divides its update by the running size of its updates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from metaplastic.plasticity.base import PlasticityRule, Traces
from metaplastic.plasticity.outer_product import outer_product


class Adaptive(PlasticityRule):
    """`rate m / (sqrt(v) + small)`, m and v running means of `signal x pre` and of its square.

    The step of Adam (Kingma & Ba 2015, arXiv:1412.6980) as a local rule: two traces a synapse. Both
    means are corrected for their start at 0. A bias is the weight of an input that is always 1.

    Args:
        mean, square: the share of a trace that is kept in a step, from 0 to below 1.
        small: added to the root, so that a synapse without a signal does not change.
        decay: the rate falls as `(1 + step / decay) ** -0.5`; None for a rate that stays.
        learn_traces: whether `mean` and `square` are meta-learned, as logits.
        options: of every plasticity rule.

    Raises:
        ValueError: for a `mean` or `square` out of its range, or a `decay` that is not above 0.
    """

    moves_bias = True
    moves_others = True
    averages_positions = False
    relative = True
    ignores_post = True
    traces = ("mean", "square")

    def __init__(
        self,
        *,
        mean: float = 0.9,
        square: float = 0.99,
        small: float = 1e-8,
        decay: float | None = None,
        learn_traces: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for name, value in (("mean", mean), ("square", square)):
            if not 0 <= value < 1:
                raise ValueError(
                    f"{name} is {value!r}; the share kept in a step is from 0 to below 1."
                )
        if decay is not None and not 0 < decay < math.inf:
            raise ValueError(f"decay is {decay!r}; it is a number of steps above 0, or None.")
        self.options |= {
            "mean": mean, "square": square, "small": small, "decay": decay,
            "learn_traces": learn_traces,
        }  # fmt: skip
        self.small, self.decay, self.kept = small, decay, (mean, square)
        self.logits: nn.Parameter | None = None
        if learn_traces:
            start = torch.tensor([mean, square], dtype=torch.float64).clamp(1e-6, 1 - 1e-6)
            self.logits = nn.Parameter(torch.logit(start).to(torch.get_default_dtype()))

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        """The first step, from traces of 0."""
        still = {name: torch.zeros_like(weight) for name in self.traces}
        first = torch.ones((), dtype=torch.int64, device=weight.device)
        return self.delta_with_traces(weight, pre, post, signal, rate, still, first)[0]

    def delta_with_traces(
        self,
        weight: Tensor,
        pre: Tensor,
        post: Tensor,
        signal: Tensor,
        rate: Tensor,
        traces: Traces,
        step: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return self.along(outer_product(signal, pre), rate, traces, step)

    def along(
        self, push: Tensor, rate: Tensor, traces: Traces, step: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        keep: Sequence[float] | Tensor = self.kept
        lose: Sequence[float] | Tensor = [1 - kept for kept in self.kept]
        if self.logits is not None:
            # Near 1 what is lost would be a difference of roundings.
            keep, lose = self.logits.sigmoid(), (-self.logits).sigmoid()
        mean = keep[0] * traces["mean"] + lose[0] * push
        square = keep[1] * traces["square"] + lose[1] * push.square()
        first, second = (1 - keep[i] ** step.to(push.dtype) for i in (0, 1))
        # The root of 0 has no derivative, so a little is added within it as well.
        spread = (square / second + 1e-24).sqrt() + self.small
        change = rate * (mean / first) / spread
        if self.decay is not None:
            change = change * (1 + step.to(push.dtype) / self.decay) ** -0.5
        return change, {"mean": mean, "square": square}
