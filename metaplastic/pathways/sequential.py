"""Sequential feedback alignment: the error is carried back through random feedback weights.

Lillicrap et al. (2016): Backprop's path, layer by layer and through every derivative, but with
feedback weights B of the shape of the forward weights in their place. With B equal to the forward
weights it is Backprop. The meta-gradient is exact: a signal is an ordinary function of B, of the
activity and of the readout's error, and is differentiated in all of these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from metaplastic.objective import Objective
from metaplastic.pathways.base import AnySite
from metaplastic.pathways.carried_back import CarriedBack
from metaplastic.pathways.sampled import SampledFeedback
from metaplastic.stacked.site import Site
from metaplastic.stacked.stack import Stack, Tape
from metaplastic.support.choices import check_choice
from metaplastic.support.level import gain
from metaplastic.support.noise import normal, xavier_deviation

Weights = Literal["fixed", "learned", "redrawn"]
Spread = Literal["kaiming", "xavier"]


class RandomFeedback(SampledFeedback, CarriedBack):
    """The error through random feedback weights, one for each plastic weight.

    A site between plastic ones that is not plastic carries the error by its forward weights.

    Args:
        scale: multiplies the standard deviation that `spread` names.
        spread: `kaiming`, `sqrt(2 / fan-in)`, or `xavier`, `sqrt(2 / (fan-in + fan-out))`.
        weights: `fixed`, sampled once; `learned`, by the outer loop; `redrawn`, sampled in each
            lifetime by its own seed, so that no rule can be fitted to them.
        level: every site's signal is rescaled to the length of the output's error (`level`), so
            that it neither vanishes nor explodes with depth.

    Raises:
        ValueError: for another choice, a scale that is not above 0, or from `attach` a readout
            that is not a plain product.
    """

    def __init__(
        self,
        *,
        scale: float = 1.0,
        weights: Weights = "fixed",
        level: bool = False,
        spread: Spread = "kaiming",
    ) -> None:
        super().__init__(scale, weights, Weights)
        check_choice("spread", spread, Spread)
        self.options = {"scale": scale, "weights": weights, "level": level, "spread": spread}
        self.level, self.spread = level, spread
        self.keys: dict[str, str] = {}  # site -> its name in `feedback`

    def attach(self, sites: Sequence[AnySite], outputs: int) -> None:
        super().attach(sites, outputs)
        self.keys = {site.name: site.key for site in sites}

    def shape(self, site: AnySite) -> tuple[int, ...]:
        return tuple(site.weight.shape)

    def sample(self, site: AnySite, key: Tensor | None = None) -> Tensor:
        like = site.weight
        if key is None:
            return torch.randn_like(like) * self.deviation(site)
        return normal(key, self.shape(site), like.dtype) * self.deviation(site)

    def deviation(self, site: AnySite) -> float:
        """The standard deviation of a site's feedback weights."""
        if self.spread == "kaiming":
            return self.scale * math.sqrt(2 / site.shape[1])
        return self.scale * xavier_deviation(site.weight)

    def carrier(self, weight: Tensor, feedback: Tensor) -> Tensor:
        return feedback

    def carriers(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        own = {
            f"{site}.weight": self.feedback_of(site, key, weights)
            for site, key in self.keys.items()
        }
        return {**weights, **own}

    def signals(
        self,
        stack: Stack,
        tape: Tape,
        weights: Mapping[str, Tensor],
        sites: Sequence[Site],
        objective: Objective,
        given: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        found = super().signals(stack, tape, weights, sites, objective, given)
        if not self.level:
            return found
        error = objective.negative_gradient(tape.output, given["target"])
        return {name: signal * gain(signal, error) for name, signal in found.items()}
