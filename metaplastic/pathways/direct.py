"""Learned direct feedback, as meta-learned by FLP, and its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, pairwise, repeat
from typing import Literal

import torch
from torch import Tensor, nn

from metaplastic.objective import Objective
from metaplastic.pathways.base import AnySite, Clamped, FeedbackPathway
from metaplastic.sites.shape import SiteShape
from metaplastic.stacked.site import Site
from metaplastic.stacked.stack import Stack, Tape
from metaplastic.support.choices import check_choice

Teaching = Literal["label", "error"]
Nonlinearity = Literal["relu", "linear"]
Feedback = Literal["learned", "random", "none"]
Gate = Literal["none", "derivative"]
Readout = Literal["clamped", "feedback"]
HiddenSeed = Literal["signed", "magnitude"]


class Direct(FeedbackPathway):
    """Learned direct feedback from the readout to every plastic layer.

    Lindsey & Litwin-Kumar (2020, arXiv:2006.09549). The seed s (label or error) drives site l by
    `r = phi(B s + c)`, and the signal of the plasticity rule is the clamped activity
    `p = b r + (1 - b) x`, with x the site's own activity and b its strength. The forward pass is
    unchanged: p is neither passed on nor used as presynaptic activity.
    A convolution's feedback is one number per channel, the same at every position, like its bias.

    Args:
        teaching: the seed: the one-hot `label` (the target itself in regression), or the `error`.
        nonlinearity: `relu` after every feedback layer (published), or `linear`.
        depth: feedback layers of each site; `width` is that of the hidden ones.
        strength: initial b of every site. `learn_strength=False` freezes it.
        feedback: `learned`; `random` (sampled once, the feedback-alignment control); `none`
            (hidden sites receive nothing: p is their own activity).
        gate: `none` (published), or `derivative`: the drive is backpropagated through the unit's
            own norm and nonlinearity, as in direct feedback alignment.
        readout: `clamped`: the readout's p is the seed itself; `feedback`: it has feedback layers
            like any hidden site, as published for regression.
        hidden_seed: `signed`, or the control `magnitude` (hidden sites receive only |s|).
        detach_error: treat the error as a constant in the meta-gradient, as the reference code's
            classifier does.

    Raises:
        ValueError: for an option that is none of its choices, or a pathway without layers or units.
    """

    clamps = True

    def __init__(
        self,
        *,
        teaching: Teaching = "label",
        nonlinearity: Nonlinearity = "relu",
        depth: int = 1,
        width: int = 64,
        strength: float = 0.5,
        learn_strength: bool = True,
        feedback: Feedback = "learned",
        gate: Gate = "none",
        readout: Readout = "clamped",
        hidden_seed: HiddenSeed = "signed",
        detach_error: bool = False,
    ) -> None:
        super().__init__()
        if depth < 1 or width < 1:
            raise ValueError(
                f"depth is {depth} and width {width}; a feedback pathway needs at least one layer "
                "of one unit."
            )
        for option, given, choices in (
            ("teaching", teaching, Teaching), ("nonlinearity", nonlinearity, Nonlinearity),
            ("feedback", feedback, Feedback), ("gate", gate, Gate), ("readout", readout, Readout),
            ("hidden_seed", hidden_seed, HiddenSeed),
        ):  # fmt: skip
            check_choice(option, given, choices)
        self.options = {
            "teaching": teaching, "nonlinearity": nonlinearity, "depth": depth, "width": width,
            "strength": strength, "learn_strength": learn_strength, "feedback": feedback,
            "gate": gate, "readout": readout, "hidden_seed": hidden_seed,
            "detach_error": detach_error,
        }  # fmt: skip
        self.teaching, self.gate, self.readout = teaching, gate, readout
        self.feedback, self.magnitude = feedback, hidden_seed == "magnitude"
        self.detach_error = detach_error
        self.pathways = nn.ModuleDict()
        self.strengths = nn.ParameterDict()

    def attach(self, sites: Sequence[AnySite], outputs: int) -> None:
        last = sites[-1]
        convolves = last.weight.dim() > 2
        if self.readout == "clamped" and convolves and isinstance(last, Site):
            raise ValueError(
                f"The readout {last.name!r} is a {type(last.module).__name__}, which has "
                "no single activity to clamp; end in a Linear, or use readout='feedback'."
            )
        for site in sites:
            if self._is_clamped(site, sites):
                continue
            receives = self._receives(site, sites)
            if receives:
                self.pathways[site.key] = self._pathway(outputs, site.units)
            self.strengths[site.key] = nn.Parameter(
                torch.tensor(float(self.options["strength"])),
                requires_grad=self.options["learn_strength"] and receives,
            )

    def _is_clamped(self, site: AnySite, sites: Sequence[AnySite]) -> bool:
        return self.readout == "clamped" and site is sites[-1]

    def _receives(self, site: AnySite, sites: Sequence[AnySite]) -> bool:
        # Without feedback to hidden sites the readout still needs a signal.
        return self.feedback != "none" or site is sites[-1]

    def _pathway(self, outputs: int, units: int) -> nn.Sequential:
        # One after another: a file may name a depth that no memory holds.
        sizes = chain([outputs], repeat(self.options["width"], self.options["depth"] - 1), [units])
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            linear = nn.Linear(fan_in, fan_out)
            nn.init.kaiming_normal_(linear.weight)
            nn.init.zeros_(linear.bias)
            layers.append(linear)
            if self.options["nonlinearity"] == "relu":
                layers.append(nn.ReLU())
        return nn.Sequential(*layers).requires_grad_(self.feedback != "random")

    def precompute(
        self, sites: Sequence[Site], objective: Objective, target: Tensor, like: Tensor
    ) -> dict[str, Tensor]:
        # The label is known before the prediction, so its feedback needs no inner loop.
        if self.teaching != "label":
            return {}
        return self._drives(sites, objective.label(like, target))

    def signals(
        self,
        stack: Stack,
        tape: Tape,
        weights: Mapping[str, Tensor],
        sites: Sequence[Site],
        objective: Objective,
        given: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        if self.teaching == "label":
            drives: Mapping[str, Tensor] = given
        else:
            seed = objective.error(tape.output, given["target"])
            drives = self._drives(sites, seed.detach() if self.detach_error else seed)
        return {
            site.name: drives["drive." + site.name]
            if self._is_clamped(site, sites)
            else self._clamp(stack, tape, site, drives)
            for site in sites
        }

    def _drives(self, sites: Sequence[AnySite], seed: Tensor) -> dict[str, Tensor]:
        """The drive of each site: `... post`; the seed itself for a clamped readout."""
        found = {}
        for site in sites:
            if self._is_clamped(site, sites):
                found["drive." + site.name] = seed
            elif self._receives(site, sites):
                given = seed.abs() if self.magnitude and site is not sites[-1] else seed
                found["drive." + site.name] = self.pathways[site.key](given)
        return found

    def _clamp(self, stack: Stack, tape: Tape, site: Site, drives: Mapping[str, Tensor]) -> Tensor:
        activity = tape.values[site.activity]
        drive = drives.get("drive." + site.name)
        if drive is None:
            return site.rows_of_units(activity)
        if activity.dim() == 5:
            drive = drive[..., None, None].expand_as(activity)
        if self.gate == "derivative":
            drive = stack.pull(tape, drive, {}, site.activity, site.layer + 1)
        strength = self.strengths[site.key]
        return site.rows_of_units(strength * drive + (1 - strength) * activity)

    def clamped(
        self,
        shapes: Sequence[SiteShape],
        calls: Sequence[Clamped],
        objective: Objective,
        prediction: Tensor,
        target: Tensor,
    ) -> list[Tensor]:
        """The clamped activity of each product, in any network.

        Raises:
            ValueError: for the gate, which reads layers, and a site of several products.
        """
        if self.gate != "none":
            raise ValueError(
                "gate='derivative' needs the written-out executor, which runs plain "
                "nn.Sequentials; use gate='none'."
            )
        label = self.teaching == "label"
        seed = (objective.label if label else objective.error)(prediction, target)
        seed = seed.detach() if self.detach_error else seed
        drives = self._drives(shapes, seed)
        found = []
        for call in calls:
            site = next(shape for shape in shapes if shape.name == call.site)
            drive = drives.get("drive." + site.name)
            if self._is_clamped(site, shapes):
                found.append(seed.reshape(call.activity.shape))
                continue
            activity = call.operation.units_last(call.activity)
            if drive is None:
                found.append(call.activity)
                continue
            strength = self.strengths[site.key]
            if drive.shape[-1] != activity.shape[-1]:
                raise ValueError(
                    f"Site {site.name!r} has {drive.shape[-1]} units but is used in parts; learned "
                    "direct feedback serves sites that are one product."
                )
            drive = drive.reshape(len(drive), *[1] * (activity.dim() - 2), -1).expand_as(activity)
            mixed = strength * drive + (1 - strength) * activity
            found.append(call.operation.units_back(mixed))
        return found

    def feedback_parameters(self) -> list[nn.Parameter]:
        return list(self.pathways.parameters())

    def strength_parameters(self) -> list[nn.Parameter]:
        return list(self.strengths.parameters())
