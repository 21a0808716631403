"""Feedback pathways: how news of the target reaches each plastic site.

A pathway turns what the readout is taught into one signal per plastic unit, `tasks rows post`:
what the unit *should* do (FLP's clamped activity), or the direction in which its input should
move (a negative gradient). It never touches weights; that is the plasticity rule's business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from metaplastic.objective import Objective
from metaplastic.readouts import Readout
from metaplastic.site import Site
from metaplastic.stack import Stack, Tape


class FeedbackPathway(nn.Module, ABC):
    """What every pathway offers. `options` are its constructor's arguments, for rule files."""

    options: dict[str, Any]
    second_order: bool = True  # False: signals and inputs are constants for the meta-gradient

    def attach(self, sites: Sequence[Site], outputs: int) -> None:
        """Make the pathway's own weights for these plastic sites; the last may be the readout."""

    @abstractmethod
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

    def ahead(
        self, sites: Sequence[Site], objective: Objective, target: Tensor, like: Tensor
    ) -> dict[str, Tensor]:
        """What can be computed for all steps at once, before the lifetime: `tasks steps batch ...`.

        `like` lends its dtype. Whatever is returned comes back, one step at a time, in `given`.
        """
        return {}

    def feedback_parameters(self) -> list[nn.Parameter]:
        return []

    def strength_parameters(self) -> list[nn.Parameter]:
        return []


class Backprop(FeedbackPathway):
    """The exact negative gradient of the loss at every site: MAML, OML and the gradient control.

    `second_order=False` treats each inner gradient as a constant, as the released OML, ANML and
    FLP baselines do: the meta-gradient is then biased (Finn et al. 2017, section 5.2).
    """

    def __init__(self, *, second_order: bool = True) -> None:
        super().__init__()
        self.second_order = second_order
        self.options = {"second_order": second_order}

    def attach(self, sites: Sequence[Site], outputs: int) -> None:
        for site in sites:
            if isinstance(site.module, Readout):
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
        target = given["target"]
        signal, above = objective.negative_gradient(tape.output, target), len(stack.layers)
        found = {}
        for site in reversed(sites):
            signal = stack.pull(tape, signal, weights, above, site.layer + 1)
            above = site.layer + 1
            found[site.name] = site.rows_of_units(signal)
        return found
