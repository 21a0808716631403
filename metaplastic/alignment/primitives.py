"""Feedback that descends a regularizer: a sum of the five primitives of Kunin et al.

A regularizer `R(W, B, x)` is a sum of primitives, and the feedback descends its gradient with W and
x fixed (Kunin et al. 2020, arXiv:2003.01513; scaling as in the authors' code: summed over
units and positions, mean over the batch, no factor 1/2). With f = W x, g = B x, r = B^T W x:

    decay   |W|^2 + |B|^2          sparse  E|f|^2 + E|g|^2       null  E|r|^2
    amp     -E <f, g>              self    -<W, B>
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from metaplastic.alignment.base import Alignment, AtSite, Coefficient, Shared
from metaplastic.sites.products import Product
from metaplastic.support.choices import check_choice
from metaplastic.support.ranges import check_number

Inputs = Literal["activity", "noise"]
"""What drives an alignment step: the inputs of the minibatch, or white noise of their shape."""


class RegularizedAlignment(Alignment):
    """Feedback that descends a weighted sum of the primitives, a step at a time.

    Args:
        decay, amp, null, sparse, self_: coefficients, or schedules of the step's number.
        rate: of the gradient step.
        inputs: x is the site's own `activity`, or white `noise` of deviation `deviation`.
    """

    coefficients = ("decay", "amp", "null", "sparse", "self_", "rate", "deviation")
    of_inputs = ("deviation",)
    sees_change = False

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
        deviation: Coefficient = 1.0,
        noise: float = 0.0,
        learn: bool = False,
        per: Shared = "shared",
    ) -> None:
        check_choice("inputs", inputs, Inputs)
        values: dict[str, Any] = {
            "decay": decay, "amp": amp, "null": null, "sparse": sparse, "self_": self_,
            "rate": rate, "deviation": deviation,
        }  # fmt: skip
        for name, value in values.items():
            if not callable(value):
                check_number(name, value)
        super().__init__(**values, inputs=inputs, noise=noise, learn=learn, per=per)
        # A primitive whose coefficient is 0 at first is left out, learned or not.
        self.used = {n for n, v in values.items() if callable(v) or v != 0}
        self.sees_inputs = bool(self.used & {"amp", "null", "sparse"})

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        # Numbers are multiplied before tensors are: each factor would be a pass over the weights.
        rate, change = self.value("rate", site), None
        if "decay" in self.used:
            change = feedback * (-2 * rate * self.value("decay", site))
        if "self_" in self.used:
            pulled = site.weight * (rate * self.value("self_", site))
            change = pulled if change is None else change + pulled
        for number, call in enumerate(site.calls if self.sees_inputs else ()):
            driven = self._driven(feedback, site, call, number) * -rate
            change = driven if change is None else change + driven
        return torch.zeros_like(feedback) if change is None else change

    def _driven(self, feedback: Tensor, site: AtSite, call: Product, number: int) -> Tensor:
        """The gradient of the primitives that depend on an input."""
        used, weight, x = self.used, site.weight, call.x.to(feedback.dtype)
        if self.options["inputs"] == "noise":
            x = self.value("deviation", site) * site.noise(x.shape, f"input {number}")
        gradient = torch.zeros_like(feedback)
        if "amp" in used or "sparse" in used:
            gradient = gradient + self._compared(feedback, site, call, x)
        if "null" in used:
            f = call.run(x, weight)
            r = call.carry(f, feedback, x)
            gradient = gradient + 2 * self.value("null", site) * call.outer(f, r, feedback)
        return gradient / len(x)

    def _compared(self, feedback: Tensor, site: AtSite, call: Product, x: Tensor) -> Tensor:
        amp = self.value("amp", site) if "amp" in self.used else 0.0
        sparse = self.value("sparse", site) if "sparse" in self.used else 0.0
        if all(not isinstance(c, Tensor) or c.numel() == 1 for c in (amp, sparse)):
            # One outer product for both, where they are one number each.
            terms: list[Tensor] = []
            if "sparse" in self.used:
                terms.append(2 * sparse * call.run(x, feedback))
            if "amp" in self.used:
                terms.append(-amp * call.run(x, site.weight))
            return call.outer(sum(terms[1:], terms[0]), x, feedback)
        f, g = call.run(x, site.weight), call.run(x, feedback)
        change: Tensor = 2 * sparse * call.outer(g, x, feedback)
        return change - amp * call.outer(f, x, feedback)
