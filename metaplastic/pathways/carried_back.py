"""The error carried back layer by layer: the base class of sequential pathways, and backprop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from metaplastic.objective import Objective
from metaplastic.pathways.base import NOT_WRITTEN_OUT, AnySite, FeedbackPathway
from metaplastic.stacked.pullback import POINTWISE
from metaplastic.stacked.readouts import Readout
from metaplastic.stacked.site import Site
from metaplastic.stacked.stack import Stack, Tape

KEEPS_ORDER = (*POINTWISE, nn.Flatten)  # layers whose outputs are their inputs', one to one


class CarriedBack(FeedbackPathway):
    """The error carried back layer by layer, through weights of the shape of the forward ones.

    A pathway that the written-out executor can run defines `carriers`.
    """

    @property
    def written_out(self) -> bool:
        # A carrier that was written anew is the generic executor's alone.
        order = [kind for kind in type(self).__mro__ if {"carrier", "carriers"} & vars(kind).keys()]
        both = "carriers" in vars(order[0])
        return type(self).carriers is not CarriedBack.carriers and both

    def carriers(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The weights that carry the error, by the names of the forward ones, of all `weights`.

        Raises:
            ValueError: for a pathway that is not `written_out`.
        """
        raise ValueError(NOT_WRITTEN_OUT.format(type(self).__name__, "carriers"))

    def attach(self, sites: Sequence[AnySite], outputs: int) -> None:
        for site in sites:
            if isinstance(site, Site) and isinstance(site.module, Readout):
                raise ValueError(
                    f"Site {site.name!r} is a {type(site.module).__name__}, which is not a product "
                    "of input and weight, so a change along signal and input would not be down the "
                    "gradient; use a Linear, or the pathway Direct."
                )

    def signals(
        self,
        stack: Stack,
        tape: Tape,
        weights: Mapping[str, Tensor],
        sites: Sequence[Site],
        objective: Objective,
        given: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        carriers = self.carriers(weights)
        signal = objective.negative_gradient(tape.output, given["target"])
        above, found = len(stack.layers), {}
        for site in reversed(sites):
            signal = stack.pull(tape, signal, carriers, above, site.layer + 1)
            above = site.layer + 1
            found[site.name] = site.rows_of_units(signal)
        return found

    def presynaptic(
        self,
        stack: Stack,
        tape: Tape,
        weights: Mapping[str, Tensor],
        sites: Sequence[Site],
        signals: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """The signal carried through each site, as `presynaptic_signal`."""
        carriers, found = self.carriers(weights), {}
        for site in sites:
            signal = site.value_of_rows(signals[site.name], tape.values[site.layer + 1])
            found[site.name] = site.rows(
                presynaptic_signal(stack, tape, signal, carriers, site, site.layer + 1, sites[0])
            )
        return found


def presynaptic_signal(
    stack: Stack,
    tape: Tape,
    signal: Tensor,
    carriers: Mapping[str, Tensor],
    site: Site,
    above: int,
    first: Site,
) -> Tensor:
    """The signal at a site's inputs that comes from a signal at layer `above`.

    Backpropagated through the nonlinearity of the units below, in the shape of the site's inputs.
    The inputs of the first site have none; for them the signal is weighted by `1 - exp(-10 |x|)`,
    so that it is 0 at inputs of 0 (Shervani-Tabar & Rosenbaum 2023, eq. 24).
    """
    value, below = tape.values[site.layer], site.layer
    while below > first.layer and isinstance(stack.layers[below - 1], KEEPS_ORDER):
        below -= 1
    found = stack.pull(tape, signal, carriers, above, below).reshape_as(value)
    return found * -torch.expm1(-10 * value.abs()) if site is first else found


class Backprop(CarriedBack):
    """The exact negative gradient of the loss at every site: MAML, OML and the gradient control.

    `second_order=False` treats each inner gradient as a constant, as the released OML, ANML and
    FLP baselines do: the meta-gradient is then biased (Finn et al. 2017, section 5.2).
    """

    def __init__(self, *, second_order: bool = True) -> None:
        super().__init__()
        self.second_order = second_order
        self.options = {"second_order": second_order}

    def carriers(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return weights
