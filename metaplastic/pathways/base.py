"""Feedback pathways: how news of the target reaches each plastic site.

A pathway turns what the readout is taught into one signal per plastic unit: what the unit *should*
do (FLP's clamped activity), or the direction in which its input should move (a negative gradient).
It never touches weights; that is the plasticity rule's business.

In any network a pathway says three things: its first feedback weights (`initialize`), what carries
a signal back through a site (`carrier`), or what is sent straight to a site's input (`sent`). In
the written-out executor it delivers the signals itself (`signals`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
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
    """What every pathway offers. `options` are its constructor's arguments, for rule files."""

    options: dict[str, Any]
    second_order: bool = True  # False: signals and inputs are constants for the meta-gradient
    has_feedback: ClassVar[bool] = False  # whether there are weights that carry signals back
    direct: ClassVar[bool] = False  # the output's error is sent straight to the input of every site
    clamps: ClassVar[bool] = False  # signals are activities, delivered by `clamped`
    keeps_norm: bool = False  # a forward weight is given its first norm before every pass
    reads_key: ClassVar[bool] = False  # `initialize` reads its key's value: no vmap over lifetimes
    level: bool = False  # signals are brought to the length of the output's error

    def attach(self, sites: Sequence[AnySite], outputs: int) -> None:
        """Make the pathway's own weights for these plastic sites; the last may be the readout."""

    def initialize(self, site: SiteShape, key: Tensor) -> Tensor:
        """The feedback weights of a site at the start of a lifetime, of the weight's shape.

        `key` is the lifetime's seed and the site's name, folded (`support.noise`).
        """
        raise ValueError(f"{type(self).__name__} has no feedback weights.")

    def carrier(self, weight: Tensor, feedback: Tensor) -> Tensor:
        """What carries signals back through a site, of the shape of its weight."""
        return weight

    def sent(self, errors: Tensor, feedback: Tensor, site: SiteShape, like: Tensor) -> Tensor:
        """What the output's errors send straight to a site's input `like`, examples first."""
        raise ValueError(f"{type(self).__name__} sends nothing straight to a site.")

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
        """Whether the written-out executor knows this pathway."""
        return type(self).signals is not FeedbackPathway.signals

    def signals(
        self,
        stack: Stack,
        tape: Tape,
        weights: Mapping[str, Tensor],
        sites: Sequence[Site],
        objective: Objective,
        given: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """Site name -> `tasks rows post`. `given` holds the step's `target` and what came ahead."""
        raise NotImplementedError

    def ahead(
        self, sites: Sequence[Site], objective: Objective, target: Tensor, like: Tensor
    ) -> dict[str, Tensor]:
        """What can be computed for all steps at once, before the lifetime: `tasks steps batch ...`.

        `like` lends its dtype. Whatever is returned comes back, one step at a time, in `given`.
        """
        return {}

    def born(self, sites: Sequence[Site], seed: Tensor) -> FastWeights:
        """What each lifetime draws for itself by its `seed` (`tasks`), under names of its own.

        It is kept among the fast weights, unchanged, and comes back in `weights`.
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
        """What the inputs of each site hear, `tasks rows pre`; for rules that are `two_sided`."""
        raise ValueError(
            f"A {type(self).__name__} delivers nothing to the presynaptic side of a site, which "
            "this plasticity rule reads; use Backprop or RandomFeedback, or a rule without it."
        )

    def feedback_parameters(self) -> list[nn.Parameter]:
        return []

    def strength_parameters(self) -> list[nn.Parameter]:
        return []


class CarriedBack(FeedbackPathway):
    """The error carried back layer by layer, through weights of the shape of the forward ones."""

    @abstractmethod
    def carriers(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The weights that carry it, by the names of the forward ones, out of all `weights`."""

    def attach(self, sites: Sequence[AnySite], outputs: int) -> None:
        for site in sites:
            if isinstance(site, Site) and isinstance(site.module, Readout):
                raise ValueError(
                    f"Site {site.name!r} is a {type(site.module).__name__}, which is not a product "
                    "of input and weight, so a change along signal and input would not be down the "
                    "gradient; use a Linear, or teach it by Direct."
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
        """The signal one site further down, through the nonlinearity that the inputs come from.

        The inputs of the first site have none; for them it is weighted by `1 - exp(-10 |x|)`, so
        that silent inputs hear nothing (Shervani-Tabar & Rosenbaum 2023, eq. 24).
        """
        carriers, found = self.carriers(weights), {}
        for site in sites:
            signal = site.value_of_rows(signals[site.name], tape.values[site.layer + 1])
            heard = heard_below(stack, tape, signal, carriers, site, site.layer + 1, sites[0])
            found[site.name] = site.rows(heard)
        return found


def heard_below(
    stack: Stack,
    tape: Tape,
    signal: Tensor,
    carriers: Mapping[str, Tensor],
    site: Site,
    above: int,
    first: Site,
) -> Tensor:
    """What the units that a site's inputs come from hear of a signal at layer `above`.

    Pulled back through their nonlinearity, in the shape of the site's inputs; see `presynaptic`
    for those of the first site, which have none.
    """
    value, below = tape.values[site.layer], site.layer
    while below > first.layer and isinstance(stack.layers[below - 1], KEEPS_ORDER):
        below -= 1
    heard = stack.pull(tape, signal, carriers, above, below).reshape_as(value)
    return heard * -torch.expm1(-10 * value.abs()) if site is first else heard


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
