"""How feedback follows the forward weights: Kunin's five primitives, and what they add up to.

A regularizer `R(W, B, x)` is a sum of primitives, and the feedback goes down its gradient while W
and x are held (Kunin et al. 2020, arXiv:2003.01513; scaling as in the authors' code: summed over
units and positions, mean over the batch, no factor 1/2). With f = W x, g = B x, r = B^T W x:

    decay   |W|^2 + |B|^2          sparse  E|f|^2 + E|g|^2       null  E|r|^2
    amp     -E <f, g>              self    -<W, B>
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor

from metaplastic.sites.credit_rule import AtSite, CreditRule
from metaplastic.support.choices import check_choice

Coefficient = float | Callable[[int], float]  # a schedule is given the number of minibatches so far
Inputs = Literal["activity", "noise"]


class Aligned(CreditRule):
    """Feedback that goes down a weighted sum of the primitives, once each minibatch.

    Args:
        decay, amp, null, sparse, self_: coefficients, or schedules of the minibatch's number.
        rate: the step down the gradient.
        inputs: x is the site's own `activity`, or white `noise` of deviation `deviation`.
    """

    follows: ClassVar[bool] = True

    def __init__(
        self,
        *,
        decay: Coefficient = 0.0,
        amp: Coefficient = 0.0,
        null: Coefficient = 0.0,
        sparse: Coefficient = 0.0,
        self_: Coefficient = 0.0,
        rate: Coefficient = 0.01,
        inputs: Inputs = "activity",
        deviation: float = 1.0,
        scale: float = 1.0,
        noise: float = 0.0,
    ) -> None:
        super().__init__(scale=scale, noise=noise)
        check_choice("inputs", inputs, Inputs)
        self.decay, self.amp, self.null, self.sparse = decay, amp, null, sparse
        self.self_, self.rate, self.inputs, self.deviation = self_, rate, inputs, deviation

    @property
    def sees_inputs(self) -> bool:  # type: ignore[override]
        return any(self.now(c) for c in (self.amp, self.null, self.sparse))

    def now(self, coefficient: Coefficient) -> float:
        return coefficient(self.steps) if callable(coefficient) else coefficient

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        decay, self_, rate = self.now(self.decay), self.now(self.self_), self.now(self.rate)
        gradient = 2 * decay * feedback if decay else torch.zeros_like(feedback)
        if self_:
            gradient = gradient - self_ * site.weight
        for x in site.inputs:
            gradient = gradient + self.driven(feedback, site, x)
        return -rate * gradient

    def driven(self, feedback: Tensor, site: AtSite, x: Tensor) -> Tensor:
        """The share of the primitives that look at an input."""
        amp, null, sparse = (self.now(c) for c in (self.amp, self.null, self.sparse))
        x = x.to(feedback)
        if self.inputs == "noise":
            x = self.deviation * torch.randn_like(x)
        meeting, weight, batch = site.meeting, site.weight, len(x)
        gradient = torch.zeros_like(feedback)
        f = meeting.run(x, weight) if amp or null else torch.zeros((), device=x.device)
        if amp or sparse:  # one outer product for both
            g = 2 * sparse * meeting.run(x, feedback) if sparse else 0.0
            gradient = meeting.outer(g - amp * f, x, feedback)
        if null:
            r = meeting.carry(f, feedback, x)
            gradient = gradient + 2 * null * meeting.outer(f, r, feedback)
        return gradient / batch
