"""Rule options for deep convolutional networks that differ from the defaults.

Kolen-Pollack: the difference of W and B decays by weight decay alone, so it gets more of it, and
its own decay is kept equal to the optimizer's at every step.

Activation and information alignment: their steps scale with the energy of a site's inputs, summed
over positions, and sites of one network differ in that by orders of magnitude: a rate that suits
one site throws another into divergence. Here a step is divided by that energy, site by site and
minibatch by minibatch, as in normalized least mean squares (Nagumo & Noda 1967).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import metaplastic
from metaplastic import Credit
from metaplastic.alignment.base import AtSite
from metaplastic.alignment.kolen_pollack import KolenPollackAlignment
from metaplastic.rules.activation_alignment import ActivationAlignment
from metaplastic.rules.credit_rule import CreditRule
from metaplastic.rules.information_alignment import InformationAlignment

COMMON_DECAY = 1e-4
WEIGHT_DECAY = {"kolen_pollack": 1e-2}


class SteadyActivationAlignment(ActivationAlignment):
    """The step over `E |x|^2`, the energy of a unit's inputs, summed over positions."""

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        change = super().follow(feedback, site)
        one = torch.ones_like(site.weight[:1])
        return _over(
            change, [call.operation.run(call.x.to(one).square(), one) for call in site.calls]
        )


class SteadyInformationAlignment(InformationAlignment):
    """The step over `E |W x|^2`, summed over units and positions, times the size of the kernel:

    what is rebuilt at one position is a sum over so many outputs.
    """

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        change = super().follow(feedback, site)
        size = site.weight[0][0].numel()
        met = [call.run(call.x.to(feedback), site.weight).square() * size for call in site.calls]
        return _over(change, met)


def _over(change: Tensor | None, squares: list[Tensor]) -> Tensor | None:
    if change is None or not squares:
        return change
    energy = sum(float(square.sum()) / len(square) for square in squares)
    return change / max(energy, torch.finfo(change.dtype).tiny)


STEADY: dict[str, CreditRule] = {
    "activation_alignment": SteadyActivationAlignment(rate=1.5),
    "information_alignment": SteadyInformationAlignment(rate=1.0),
}


def assigned(rule: str, model: nn.Module, example: Tensor, seed: int) -> Credit:
    """The rule of this name for this network, as it is used here."""
    return metaplastic.credit(STEADY.get(rule, rule), model, example=example, seed=seed)


def weight_decay(rule: str) -> float:
    return WEIGHT_DECAY.get(rule, COMMON_DECAY)


def stepped(credit: Credit, optimizer: torch.optim.SGD) -> None:
    """Set Kolen-Pollack's decay to the weight decay of the last optimizer step."""
    if isinstance(credit.rule.alignment, KolenPollackAlignment):
        (group,) = optimizer.param_groups
        credit.rule.alignment.options["decay"] = (
            group["lr"] * group["weight_decay"] / (1 - group["momentum"])
        )
