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

from torch import Tensor, nn

from metaplastic.objective import Objective
from metaplastic.sites.operations import Operation
from metaplastic.sites.shape import SiteShape
from metaplastic.stacked.site import Site
from metaplastic.stacked.stack import FastWeights, Stack, Tape
from metaplastic.support.recorded import Recorded

AnySite = Site | SiteShape
NOT_WRITTEN_OUT = (
    "A {} does not define {}, which the written-out executor calls; give the learner input_shape=, "
    "and it runs any module."
)


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
        """Signals by site, `tasks rows post`; `given` has the `target` and what was precomputed.

        Raises:
            ValueError: for a pathway that is not `written_out`.
        """
        raise ValueError(NOT_WRITTEN_OUT.format(type(self).__name__, "signals"))

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
