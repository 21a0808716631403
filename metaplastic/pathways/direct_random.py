"""Direct random feedback: the output's error goes straight to the inputs of every site.

Nokland (2016): what arrives at a site's inputs is carried exactly through the nonlinearity there,
to the site below. However deep a network is, a signal has passed one random matrix. It can be
sampled anew in every lifetime, and its length can be made that of the error, so that a plasticity
rule may be meta-learned on it and transferred to other networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from metaplastic.objective import Objective
from metaplastic.pathways.base import AnySite, FeedbackPathway, heard_below
from metaplastic.sites.shape import SiteShape
from metaplastic.stacked.site import Site
from metaplastic.stacked.stack import FastWeights, Stack, Tape
from metaplastic.support.choices import check_choice
from metaplastic.support.level import gain
from metaplastic.support.noise import feedback_key, uniform

Drawn = Literal["fixed", "redrawn"]
Per = Literal["auto", "unit", "channel"]
LARGE = 1 << 26  # bytes of one site's matrix, from which on a channel has one number
MOST = 1 << 32  # bytes that are refused
OWN = "direct feedback to "  # before the names of sites: no layer can be called so


class RandomDirect(FeedbackPathway):
    """The error through one random matrix for each site.

    Where each position of the output has one of the input, as in a network of tokens, the matrix is
    that of a position: `output features x input features`. Else it is `outputs x units`, with the
    units of one example's input.

    Args:
        scale: entries are uniform within `scale / sqrt(units that receive)`.
        weights: `fixed`, sampled once; `redrawn` in each lifetime by its own seed, so that no rule
            can be fitted to them.
        level: every site's signal is brought to the length of the output's error (`level`).
        per: `unit`, a number for each unit; `channel`, one for all positions of a channel;
            `auto`, a channel where a number for each unit would take more than 64 MiB.

    Raises:
        ValueError: for another choice, a scale that is not above 0, and from `initialize`, before
            anything is allocated, for a matrix of more than 4 GiB.
    """

    has_feedback = True
    direct = True

    def __init__(
        self,
        *,
        scale: float = 1.0,
        weights: Drawn = "fixed",
        level: bool = False,
        per: Per = "auto",
    ) -> None:
        super().__init__()
        check_choice("weights", weights, Drawn)
        check_choice("per", per, Per)
        if not 0 < scale < math.inf:
            raise ValueError(f"scale is {scale!r}; feedback needs a finite scale above 0.")
        self.options = {"scale": scale, "weights": weights, "level": level, "per": per}
        self.scale, self.drawn, self.level, self.outputs = scale, weights, level, 0
        self.per = per
        self.feedback = nn.ParameterDict()

    def attach(self, sites: Sequence[AnySite], outputs: int) -> None:
        self.outputs = outputs
        for site in sites:
            if isinstance(site, Site) and type(site.module) is not nn.Linear:
                raise ValueError(
                    f"Site {site.name!r} is a {type(site.module).__name__}; the written-out "
                    "executor knows direct random feedback in networks of nn.Linear. Give the "
                    "learner input_shape=, and it runs any module."
                )
            if self.drawn == "fixed":
                shape = (outputs, site.shape[1]) if isinstance(site, Site) else self._size(site)
                drawn = torch.rand(shape) * 2 - 1
                self.feedback[site.key] = nn.Parameter(drawn * self._bound(shape), False)

    def _bound(self, shape: tuple[int, ...]) -> float:
        return self.scale / math.sqrt(shape[1])

    def initialize(self, site: SiteShape, key: Tensor) -> Tensor:
        """Fixed weights where there are any of this shape, else a sample by the key."""
        shape = self._size(site)
        own: Tensor | None = self.feedback.get(site.key)
        if own is not None and tuple(own.shape) == shape:
            return own
        drawn = 2 * uniform(key, shape, site.weight.dtype) - 1
        return drawn * self.scale / math.sqrt(site.input[1:].numel() if shape[1:] else 1)

    def _size(self, site: SiteShape) -> tuple[int, int]:
        if by_position(site):
            return site.output[-1], site.input[-1]
        outputs, units = site.output[1:].numel(), site.input[1:].numel()
        itemsize = site.weight.element_size()
        spatial = len(site.input) > 2
        if spatial and (
            self.per == "channel" or (self.per == "auto" and outputs * units * itemsize > LARGE)
        ):
            units = site.input[1]
        if outputs * units * itemsize > MOST:
            raise ValueError(
                f"Direct feedback to site {site.name!r} would be {outputs} outputs x {units} units,"
                f" {outputs * units * itemsize:,} bytes. Choose per='channel', name its module in "
                "leave=, or use a sequential rule."
            )
        return outputs, units

    def sent(self, errors: Tensor, feedback: Tensor, site: SiteShape, like: Tensor) -> Tensor:
        """The output's errors through the feedback to a site's input, shaped `like`.

        Raises:
            ValueError: for an input of another size than the feedback was made for.
        """
        if by_position(site):
            return (errors @ feedback.to(errors)).reshape(like.shape)
        arrived = errors.flatten(1) @ feedback.to(errors)
        if like.dim() > 2 and feedback.shape[1] == like.shape[1] != like[0].numel():
            return arrived.reshape(*arrived.shape, *[1] * (like.dim() - 2)).expand_as(like)
        if arrived.shape[1] != like[0].numel():
            raise ValueError(
                f"Site {site.name!r} was given inputs of shape {tuple(like.shape[1:])}, but its "
                f"direct feedback was made for {tuple(site.input[1:])}; make a new credit with an "
                "example of the new size."
            )
        return arrived.reshape(like.shape)

    def born(self, sites: Sequence[Site], seed: Tensor) -> FastWeights:
        if self.drawn == "fixed":
            return {}
        found = {}
        for site in sites:
            shape = (self.outputs, site.shape[1])
            own = [
                2 * uniform(feedback_key(one, site.name), shape, site.weight.dtype) - 1
                for one in seed.unbind()
            ]
            found[OWN + site.name] = torch.stack(own) * self.scale / math.sqrt(shape[1])
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


def by_position(site: SiteShape) -> bool:
    """Whether each position of the output has one of the site's input."""
    return len(site.output) > 2 and site.output[:-1] == site.input[:-1]
