"""GAIT-prop with a fixed gamma fails in depth, and the rescaled form does not."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from experiments.lab.credit_checks.claim import Claim, Panel, first_delta, point
from experiments.lab.credit_checks.pass_lines import Line
from experiments.lab.credit_checks.targets import angles, squares
from experiments.lab.credit_checks.work import Measured
from metaplastic.pathways.inverse import Inverse

DEPTHS = (2, 4, 6, 8, 12, 16)
UNITS, EXAMPLES = 64, 32


@dataclass(frozen=True, kw_only=True)
class Untrained:
    """The angle of every site's gradient to backprop's, on a random task, before any learning.

    Args:
        crooked: the deviation of what is added to orthogonal weights, times `sqrt(units)`.
    """

    how: Inverse
    layers: int
    crooked: float = 0.0

    def reduced(self) -> Untrained:
        return self

    def measure(self, seed: int) -> Measured:
        begun = time.perf_counter()
        generator = torch.Generator().manual_seed(seed)
        chain = squares(UNITS, self.layers, seed)
        x, y = torch.randn(2, EXAMPLES, UNITS, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            for weight in chain.parameters():
                if weight.dim() == 2:
                    noise = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
                    weight.add_(noise, alpha=self.crooked / UNITS**0.5)
        found = angles(chain, self.how, x, y)
        return {"delta": found, "seconds": time.perf_counter() - begun}


def _at_depths(how: Inverse, crooked: float = 0.0) -> dict[float, Untrained]:
    return {float(n): Untrained(how=how, layers=n, crooked=crooked) for n in DEPTHS}


TP, FIXED = "target propagation", "fixed gamma 1e-3"
RESCALED, CROOKED = "rescaled gamma 1e-7", "rescaled, weights not orthogonal"
CLAIM = Claim(
    sentence="GAIT-prop with a fixed gamma fails in depth; the rescaled form does not.",
    x="layers",
    curves={
        TP: _at_depths(Inverse(gamma=None)),
        FIXED: _at_depths(Inverse(gamma=1e-3)),
        RESCALED: _at_depths(Inverse(gamma=1e-7, adaptive=True)),
        CROOKED: _at_depths(Inverse(gamma=1e-7, adaptive=True), 0.05),
    },
    panels=(Panel("angle to backprop at the first site", first_delta),),
    lines=(
        # Not 0: a unit that is within gamma of the kink crosses it.
        Line("fixed gamma, 4 layers", point(FIXED, 4.0, first_delta), "<", 15, 15),
        Line("fixed gamma, 12 layers", point(FIXED, 12.0, first_delta), ">", 60, 60),
        Line("rescaled, 16 layers", point(RESCALED, 16.0, first_delta), "<", 0.01, 0.01),
        Line("target propagation, 4 layers", point(TP, 4.0, first_delta), ">", 60, 60),
    ),
)
