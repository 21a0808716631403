"""Sign agreement suffices: magnitudes of the feedback may be random, signs must be the weights'."""

from __future__ import annotations

import torch
from torch import Tensor

from experiments.lab.credit_checks.claim import Claim, Panel, accuracy, first_delta, point
from experiments.lab.credit_checks.pass_lines import Line, below
from experiments.lab.credit_checks.training import Training, options
from metaplastic.rules.credit_rule import CreditRule

PARTS = (0.25, 0.5, 0.625, 0.75, 0.875, 1.0)


class PartlySigned(CreditRule):
    """Random sizes, and the weight's sign at a random part of the synapses, its opposite elsewhere.

    Args:
        agree: how likely a synapse is to have the sign of the weight; at 1/2 signs say nothing.
    """

    def __init__(self, *, agree: float = 1.0) -> None:
        super().__init__()
        self.agree = agree

    def first(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        signs = torch.rand(weight.shape, generator=generator).lt(self.agree).to(weight) * 2 - 1
        return super().first(weight, generator).abs() * signs

    def through(self, weight: Tensor, feedback: Tensor) -> Tensor:
        return feedback * weight.detach().sign()


class PartlyCopied(PartlySigned):
    """The weight itself, with the opposite sign at the rest of the synapses."""

    def through(self, weight: Tensor, feedback: Tensor) -> Tensor:
        return weight.detach() * feedback.sign()


def _at_parts(rule: type[PartlySigned]) -> dict[float, Training]:
    return {
        part: Training(
            rule=rule, options=options(agree=part), hidden=(128,) * 6, examples=10_000, epochs=5
        )
        for part in PARTS
    }


RANDOM, OWN = "sizes at random", "sizes of the weights"
CLAIM = Claim(
    sentence="Sign agreement suffices: sizes at random cost little, wrong signs cost much.",
    x="part of the signs that agree",
    curves={RANDOM: _at_parts(PartlySigned), OWN: _at_parts(PartlyCopied)},
    panels=(
        Panel("test accuracy %", accuracy),
        Panel("delta angle at the first site", first_delta),
    ),
    lines=(
        Line(
            "all signs, sizes at random: points below backprop",
            below(point(RANDOM, 1.0, accuracy), point(OWN, 1.0, accuracy)), "<=", 3, 15,
        ),
        Line(
            "half the signs, sizes of the weights: points below backprop",
            below(point(OWN, 0.5, accuracy), point(OWN, 1.0, accuracy)), ">=", 2,
        ),
        Line(
            "a quarter of the signs, sizes of the weights: points below backprop",
            below(point(OWN, 0.25, accuracy), point(OWN, 1.0, accuracy)), ">=", 10, 5,
        ),
    ),
)  # fmt: skip
