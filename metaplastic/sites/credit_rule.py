"""What a credit-assignment rule decides: its feedback, what carries errors, how it follows.

    class Mine(CreditRule):
        def through(self, weight, feedback):
            return 0.5 * (weight + feedback)

Published rules are in `metaplastic.rules`, each a file of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from inspect import signature
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from metaplastic.sites.credit_sites import Meeting


def fans(weight: Tensor) -> tuple[int, int]:
    """Inputs of a unit, and outputs of an input, as initializers count them."""
    return weight[0].numel(), len(weight) * weight[0][0].numel()


@dataclass(frozen=True)
class AtSite:
    """What a rule may see of a site when it follows: one call's share of a minibatch."""

    meeting: Meeting
    weight: Tensor
    change: Tensor  # of the weight since the last minibatch
    before: Tensor  # the weight at the last minibatch
    inputs: tuple[Tensor, ...]  # padded, one for each call; empty unless the rule asks for them


class CreditRule:
    """Backpropagation, to be overridden.

    Args:
        scale: of random feedback, against the standard deviation `sqrt(2 / (fan_in + fan_out))`.
        noise: the standard deviation of what chance adds to the feedback after each minibatch.
    """

    route: ClassVar[Literal["sequential", "direct", "inverse"]] = "sequential"
    alias: ClassVar[tuple[str, ...]] = ()
    formula: ClassVar[str] = ""
    local: ClassVar[str] = ""  # what a synapse must know
    cost: ClassVar[str] = ""
    use: ClassVar[str] = ""
    bibtex: ClassVar[str] = ""
    has_feedback: ClassVar[bool] = True
    sees_inputs: ClassVar[bool] = False
    sees_change: ClassVar[bool] = False
    follows: ClassVar[bool] = False
    keeps_norm: bool = False  # forward weights are given their first norm before every pass

    def __init__(self, *, scale: float = 1.0, noise: float = 0.0) -> None:
        if not scale > 0 or not math.isfinite(scale) or not noise >= 0:
            raise ValueError(
                f"scale is {scale} and noise {noise}; scale must be above 0 and finite, noise at "
                "least 0."
            )
        self.scale, self.noise = scale, noise
        self.steps = 0  # minibatches followed so far

    def first(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        """The feedback at the start; normal, of the variance of Xavier's initialization."""
        fan_in, fan_out = fans(weight)
        drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        return drawn.mul_(self.scale * math.sqrt(2 / (fan_in + fan_out))).to(weight)

    def through(self, weight: Tensor, feedback: Tensor) -> Tensor:
        """The matrix or kernel that carries errors back, of the shape of the weight."""
        return feedback

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        """The change of the feedback after a minibatch, without noise; None for no change."""
        return None

    def finish(self, gradient: Tensor) -> Tensor:
        """What a site's weight gets as its gradient."""
        return gradient

    @property
    def options(self) -> dict[str, Any]:
        """Its settings, for records."""
        return {name: getattr(self, name, None) for name in signature(type(self)).parameters}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.options.items())})"
