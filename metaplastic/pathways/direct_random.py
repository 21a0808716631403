"""Direct random feedback: the output's error goes straight to the inputs of every site.

Nokland (2016), as `rules.direct_feedback_alignment` has it in networks of any kind: what arrives at
a site's inputs is carried exactly through the nonlinearity there, to the site below. However deep
a network is, a signal has passed one random matrix. Here it can be drawn anew in every lifetime,
and its length can be made that of the error, so that a plasticity rule may be meta-learned on it
and plugged in elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from metaplastic.objective import Objective
from metaplastic.pathways.base import FeedbackPathway, heard_below
from metaplastic.stacked.site import Site
from metaplastic.stacked.stack import FastWeights, Stack, Tape
from metaplastic.support.choices import check_choice
from metaplastic.support.level import gain
from metaplastic.support.seeding import seeded

Drawn = Literal["fixed", "redrawn"]
OWN = "direct feedback to "  # before the names of sites: no layer can be called so


class RandomDirect(FeedbackPathway):
    """The error through one random matrix for each site, in fully connected networks.

    Elsewhere, plug the rule in: `PlasticModule` draws what any network needs.

    Args:
        scale: entries are uniform within `scale / sqrt(inputs of the site)`.
        weights: `fixed`, drawn once; `redrawn` in each lifetime by its own seed, so that no rule
            can be fitted to them.
        level: every site's signal is brought to the length of the output's error (`level`).

    Raises:
        ValueError: for another choice, a scale that is not above 0, or from `attach` a site that is
            not an `nn.Linear` itself.
    """

    def __init__(
        self, *, scale: float = 1.0, weights: Drawn = "fixed", level: bool = False
    ) -> None:
        super().__init__()
        check_choice("weights", weights, Drawn)
        if not 0 < scale < math.inf:
            raise ValueError(f"scale is {scale!r}; feedback needs a finite scale above 0.")
        self.options = {"scale": scale, "weights": weights, "level": level}
        self.scale, self.drawn, self.level, self.outputs = scale, weights, level, 0
        self.feedback = nn.ParameterDict()

    def attach(self, sites: Sequence[Site], outputs: int) -> None:
        self.outputs = outputs
        for site in sites:
            if type(site.module) is not nn.Linear:
                raise ValueError(
                    f"Site {site.name!r} is a {type(site.module).__name__}; direct random feedback "
                    "is meta-trained with in networks of nn.Linear, and goes into others by "
                    "PlasticModule."
                )
            if self.drawn == "fixed":
                drawn = torch.rand(outputs, site.shape[1]) * 2 - 1
                self.feedback[site.key] = nn.Parameter(drawn * self._bound(site), False)

    def _bound(self, site: Site) -> float:
        return self.scale / math.sqrt(site.shape[1])

    def born(self, sites: Sequence[Site], seed: Tensor) -> FastWeights:
        if self.drawn == "fixed":
            return {}
        sources = [seeded(int(s), "feedback") for s in seed.tolist()]
        found = {}
        for site in sites:
            size = (self.outputs, site.shape[1])
            drawn = torch.stack([torch.rand(size, generator=source) for source in sources])
            found[OWN + site.name] = (drawn * 2 - 1).to(site.module.weight) * self._bound(site)
        return found

    def signals(
        self,
        stack: Stack,
        tape: Tape,
        weights: Mapping[str, Tensor],
        sites: Sequence[Site],
        objective: Objective,
        given: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        if sites[-1].layer + 1 < len(stack.layers):
            raise ValueError(
                f"A {type(stack.layers[-1]).__name__} follows the readout {sites[-1].name!r}; "
                "direct random feedback needs a network that ends in its readout, so leave it out."
            )
        error = objective.negative_gradient(tape.output, given["target"])
        found = {sites[-1].name: error}
        for site, above in pairwise(sites):
            sent = self._sent(tape, weights, above, error)
            signal = stack.pull(tape, sent, weights, above.layer, site.layer + 1)
            found[site.name] = signal * gain(signal, error) if self.level else signal
        return found

    def presynaptic(
        self,
        stack: Stack,
        tape: Tape,
        weights: Mapping[str, Tensor],
        sites: Sequence[Site],
        signals: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """What is sent to the inputs of each site, through the nonlinearity that they come from.

        The inputs of the first site have none; for them it is weighted by `1 - exp(-10 |x|)`, so
        that silent inputs hear nothing (Shervani-Tabar & Rosenbaum 2023, eq. 24).
        """
        error, found = signals[sites[-1].name], {}
        for site in sites:
            sent = self._sent(tape, weights, site, error)
            found[site.name] = heard_below(stack, tape, sent, weights, site, site.layer, sites[0])
        return found

    def _sent(self, tape: Tape, weights: Mapping[str, Tensor], site: Site, error: Tensor) -> Tensor:
        """What arrives at the inputs of a site: `tasks batch inputs`."""
        matrix = weights[OWN + site.name] if self.drawn == "redrawn" else self.feedback[site.key]
        return error @ matrix
