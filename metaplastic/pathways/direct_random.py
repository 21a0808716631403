"""Direct random feedback: the output's error is sent directly to the inputs of every site.

Nokland (2016): the signal at a site's inputs is backpropagated exactly through the nonlinearity
there, to the site below. At any depth a signal has passed one random matrix. The matrix can be
sampled anew in every lifetime, and the signal rescaled to the length of the error, so that a
plasticity rule may be meta-learned on it and transferred to other networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from metaplastic.objective import Objective
from metaplastic.pathways.base import AnySite
from metaplastic.pathways.carried_back import presynaptic_signal
from metaplastic.pathways.sampled import SampledFeedback
from metaplastic.sites.shape import SiteShape
from metaplastic.stacked.site import Site
from metaplastic.stacked.stack import Stack, Tape
from metaplastic.support.choices import check_choice
from metaplastic.support.level import gain
from metaplastic.support.noise import uniform

Weights = Literal["fixed", "redrawn"]
Per = Literal["auto", "unit", "channel"]
LARGE = 1 << 26  # bytes of one site's matrix, from which on a channel has one number
MOST = 1 << 32  # bytes that are refused


class RandomDirect(SampledFeedback):
    """The error through one random matrix for each site.

    Where each position of the output has one of the input, as in a network of tokens, the matrix is
    that of a position: `output features x input features`. Else it is `outputs x units`, with the
    units of one example's input.

    Args:
        scale: entries are uniform within `scale / sqrt(units of one example's input)`.
        weights: `fixed`, sampled once; `redrawn`, sampled in each lifetime by its own seed, so that
            no rule can be fitted to them.
        level: every site's signal is rescaled to the length of the output's error (`level`).
        per: `unit`, a number for each unit; `channel`, one for all positions of a channel;
            `auto`, a channel where a number for each unit would take more than 64 MiB.

    Raises:
        ValueError: for another choice, a scale that is not above 0, and from `initialize`, before
            anything is allocated, for a matrix of more than 4 GiB.
    """

    direct = True

    def __init__(
        self,
        *,
        scale: float = 1.0,
        weights: Weights = "fixed",
        level: bool = False,
        per: Per = "auto",
    ) -> None:
        super().__init__(scale, weights, Weights)
        check_choice("per", per, Per)
        self.options = {"scale": scale, "weights": weights, "level": level, "per": per}
        self.level, self.per, self.outputs = level, per, 0

    def attach(self, sites: Sequence[AnySite], outputs: int) -> None:
        self.outputs = outputs
        for site in sites:
            if isinstance(site, Site) and type(site.module) is not nn.Linear:
                raise ValueError(
                    f"Site {site.name!r} is a {type(site.module).__name__}; the written-out "
                    "executor runs direct random feedback in networks of nn.Linear. Give the "
                    "learner input_shape=, and it runs any module."
                )
        super().attach(sites, outputs)

    def sample(self, site: AnySite, key: Tensor | None = None) -> Tensor:
        shape = self.shape(site)
        units = site.shape[1] if isinstance(site, Site) else site.input[1:].numel()
        some = torch.rand(shape) if key is None else uniform(key, shape, site.weight.dtype)
        return (2 * some - 1) * self.scale / math.sqrt(units)

    def shape(self, site: AnySite) -> tuple[int, ...]:
        """`outputs x units`, `outputs x channels`, or `output features x input features`."""
        if isinstance(site, Site):
            return self.outputs, site.shape[1]
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
                "direct random feedback needs a network that ends in its readout, so remove it."
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
        """The signal sent to each site, as `presynaptic_signal`."""
        error, found = signals[sites[-1].name], {}
        for site in sites:
            sent = self._sent(tape, weights, site, error)
            found[site.name] = presynaptic_signal(
                stack, tape, sent, weights, site, site.layer, sites[0]
            )
        return found

    def _sent(self, tape: Tape, weights: Mapping[str, Tensor], site: Site, error: Tensor) -> Tensor:
        """The signal at the inputs of a site: `tasks batch inputs`."""
        return error @ self.feedback_of(site.name, site.key, weights)


def by_position(site: SiteShape) -> bool:
    """Whether each position of the output has one of the site's input.

    A layer may fold examples and positions into one axis, as GPT-2's do.
    """
    positions = site.output[:-1]
    folded = len(site.input) == 2 and site.input[0] == positions.numel()
    return len(site.output) > 2 and (site.input[:-1] == positions or folded)
