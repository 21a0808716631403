"""Sequential feedback alignment: the error is carried back through random weights of its own.

Lillicrap et al. (2016): Backprop's path, layer by layer and through every derivative, but with
feedback weights B of the shape of the forward weights in the place of these. With B equal to the
forward weights it is Backprop. The meta-gradient is exact: a signal is an ordinary function of B,
of the activity and of the readout's error, and whatever depends on them is differentiated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from metaplastic.objective import Objective
from metaplastic.pathways.base import AnySite, CarriedBack
from metaplastic.stacked.site import Site
from metaplastic.stacked.stack import FastWeights, Stack, Tape
from metaplastic.support.choices import check_choice
from metaplastic.support.level import gain
from metaplastic.support.noise import feedback_key, normal

Drawn = Literal["fixed", "learned", "redrawn"]
Spread = Literal["kaiming", "xavier"]
OWN = "feedback of "  # before the names of forward weights: no layer can be called so


class RandomFeedback(CarriedBack):
    """The error through random feedback weights, one for each plastic weight.

    A site between plastic ones that does not learn carries the error by its own forward weights.

    Args:
        scale: multiplies the standard deviation that `spread` names.
        spread: `kaiming`, `sqrt(2 / fan-in)`, or `xavier`, `sqrt(2 / (fan-in + fan-out))`.
        weights: `fixed`, drawn once; `learned`, by the outer loop; `redrawn` in each lifetime by
            its own seed, so that no rule can be fitted to them.
        level: every site's signal is brought to the length of the output's error (`level`), so that
            it neither fades nor grows on its way down.

    Raises:
        ValueError: for another choice, a scale that is not above 0, or from `attach` a readout
            that is no plain product.
    """

    has_feedback = True

    def __init__(
        self,
        *,
        scale: float = 1.0,
        weights: Drawn = "fixed",
        level: bool = False,
        spread: Spread = "kaiming",
    ) -> None:
        super().__init__()
        check_choice("weights", weights, Drawn)
        check_choice("spread", spread, Spread)
        if not 0 < scale < math.inf:
            raise ValueError(f"scale is {scale!r}; feedback needs a finite scale above 0.")
        self.options = {"scale": scale, "weights": weights, "level": level, "spread": spread}
        self.scale, self.drawn, self.level, self.spread = scale, weights, level, spread
        self.feedback = nn.ParameterDict()
        self.names: dict[str, str] = {}  # of forward weights, to those in `feedback`

    def attach(self, sites: Sequence[AnySite], outputs: int) -> None:
        super().attach(sites, outputs)
        for site in sites:
            self.names[site.name + ".weight"] = site.key
            if self.drawn != "redrawn":
                drawn = self.deviation(site) * torch.randn_like(site.weight)
                self.feedback[site.key] = nn.Parameter(drawn, self.drawn == "learned")

    def deviation(self, site: AnySite) -> float:
        """The standard deviation of a site's feedback weights."""
        fan_in = site.shape[1]
        if self.spread == "kaiming":
            return self.scale * math.sqrt(2 / fan_in)
        weight = site.weight
        return self.scale * math.sqrt(2 / (weight[0].numel() + len(weight) * weight[0][0].numel()))

    def initialize(self, site: AnySite, key: Tensor) -> Tensor:
        """Learned or fixed weights where there are any of this shape, else a sample by the key."""
        own: Tensor | None = self.feedback.get(site.key)
        if own is not None and own.shape == site.weight.shape:
            return own
        like = site.weight
        return normal(key, tuple(like.shape), like.dtype) * self.deviation(site)

    def carrier(self, weight: Tensor, feedback: Tensor) -> Tensor:
        return feedback

    def born(self, sites: Sequence[Site], seed: Tensor) -> FastWeights:
        if self.drawn != "redrawn":
            return {}
        return {
            f"{OWN}{site.name}.weight": torch.stack(
                [self.initialize(site, feedback_key(own, site.name)) for own in seed.unbind()]
            )
            for site in sites
        }

    def carriers(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        own = {
            name: weights[OWN + name] if self.drawn == "redrawn" else self.feedback[key]
            for name, key in self.names.items()
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

    def feedback_parameters(self) -> list[nn.Parameter]:
        return list(self.feedback.parameters())
