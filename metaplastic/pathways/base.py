"""Feedback pathways: how the error or the label at the output reaches each plastic site.

A pathway delivers one signal per plastic unit: the activity that it is clamped to (FLP), or the
direction in which its input should change (a negative gradient). It never changes weights; that is
the plasticity rule's part.

In any network a pathway defines its initial feedback weights (`initialize`) and either the weight
that carries a signal back through a site (`carrier`) or the signal sent directly to a site's input
(`sent`). In the written-out executor it computes the signals itself (`signals`).
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from metaplastic.objective import Objective
from metaplastic.sites.operations import Operation
from metaplastic.sites.shape import SiteShape
from metaplastic.stacked.pullback import POINTWISE
from metaplastic.stacked.readouts import Readout
from metaplastic.stacked.site import Site
from metaplastic.stacked.stack import FastWeights, Stack, Tape
from metaplastic.support.recorded import Recorded

AnySite = Site | SiteShape
KEEPS_ORDER = (*POINTWISE, nn.Flatten)  # layers whose outputs are their inputs', one to one


class Clamped(NamedTuple):
    """One product whose activity is clamped: its site, its operation and its own activity."""

    site: str
    operation: Operation
    activity: Tensor


class FeedbackPathway(Recorded, nn.Module, ABC):
    """The base class of pathways. `options` are the constructor's arguments, for rule files."""

    options: dict[str, Any]
    second_order: bool = True  # False: signals and inputs are constants for the meta-gradient
    has_feedback: ClassVar[bool] = False  # whether there are feedback weights
    direct: ClassVar[bool] = False  # the output's error is sent directly to the input of every site
    clamps: ClassVar[bool] = False  # signals are activities, delivered by `clamped`
    keeps_norm: bool = False  # a forward weight is rescaled to its first norm before every pass
    reads_key: ClassVar[bool] = False  # `initialize` reads its key's value: no vmap over lifetimes
    level: bool = False  # signals are rescaled to the length of the output's error

    def attach(self, sites: Sequence[AnySite], outputs: int) -> None:
        """Create the pathway's parameters for these plastic sites; the last may be the readout."""

    def initialize(self, site: SiteShape, key: Tensor) -> Tensor:
        """The feedback weights of a site at the start of a lifetime, of the weight's shape.

        `key` is the lifetime's seed and the site's name, folded (`support.noise`).
        """
        raise ValueError(f"{type(self).__name__} has no feedback weights.")

    def carrier(self, weight: Tensor, feedback: Tensor) -> Tensor:
        """The weight that carries signals back through a site, of the shape of its weight."""
        return weight

    def sent(self, errors: Tensor, feedback: Tensor, site: SiteShape, like: Tensor) -> Tensor:
        """The signal of the output's errors at a site's input `like`, examples first."""
        raise ValueError(f"{type(self).__name__} sends nothing directly to a site.")

    def clamped(
        self,
        shapes: Sequence[SiteShape],
        calls: Sequence[Clamped],
        objective: Objective,
        prediction: Tensor,
        target: Tensor,
    ) -> list[Tensor]:
        """The activity that each product is clamped to, shaped as its output; of `clamps`."""
        raise ValueError(f"{type(self).__name__} clamps no activity.")

    @property
    def written_out(self) -> bool:
        """Whether the written-out executor can run this pathway."""
        return type(self).signals is not FeedbackPathway.signals

    @property
    def is_exact(self) -> bool:
        """Whether signals go back through the weights themselves, as in backpropagation."""
        return not self.has_feedback and type(self).carrier is FeedbackPathway.carrier

    def signals(
        self,
        stack: Stack,
        tape: Tape,
        weights: Mapping[str, Tensor],
        sites: Sequence[Site],
        objective: Objective,
        given: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """Signals by site, `tasks rows post`; `given` has the `target` and what was precomputed."""
        raise NotImplementedError

    def precompute(
        self, sites: Sequence[Site], objective: Objective, target: Tensor, like: Tensor
    ) -> dict[str, Tensor]:
        """Tensors of all steps, computed before the lifetime starts: `tasks steps batch ...`.

        They are of the dtype of `like`, and `given` to `signals` one step at a time.
        """
        return {}

    def initialize_lifetimes(self, sites: Sequence[Site], seed: Tensor) -> FastWeights:
        """The feedback weights that each lifetime samples by its `seed` (`tasks`), `tasks ...`.

        They are among the fast weights, unchanged, and in the `weights` given to `signals`.
        """
        return {}

    def presynaptic(
        self,
        stack: Stack,
        tape: Tape,
        weights: Mapping[str, Tensor],
        sites: Sequence[Site],
        signals: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """The signal at the inputs of each site, `tasks rows pre`; for `two_sided` rules."""
        raise ValueError(
            f"A {type(self).__name__} delivers nothing to the presynaptic side of a site, which "
            "this plasticity rule reads; use Backprop or RandomFeedback, or a rule without it."
        )

    def feedback_parameters(self) -> list[nn.Parameter]:
        """The feedback weights among the parameters."""
        return []

    def strength_parameters(self) -> list[nn.Parameter]:
        """The strengths of clamping among the parameters."""
        return []


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
        """The weights that carry the error, by the names of the forward ones, of all `weights`."""
        raise NotImplementedError

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
