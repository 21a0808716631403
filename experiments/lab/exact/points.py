"""Points of pathway x plasticity x alignment: every named rule, and others beside them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from metaplastic import (
    Backprop,
    CreditRule,
    Delta,
    Hebb,
    LearningRule,
    NormalizedHebb,
    Oja,
    PlasticityRule,
    Polynomial,
    RandomDirect,
    RandomFeedback,
    StableOja,
    rules,
)
from metaplastic.alignment.base import AtSite
from metaplastic.alignment.kolen_pollack import KolenPollackAlignment
from metaplastic.alignment.mirror import MirrorAlignment
from metaplastic.alignment.primitives import RegularizedAlignment
from metaplastic.alignment.sleep import Sleep
from metaplastic.plasticity.adaptive import Adaptive
from metaplastic.plasticity.terms import POOL, TERMS

LIGHT = ("signal_pre", "oja", "signal_back", "unit_oja", "three_factor", "decay")
Make = Callable[[], LearningRule]


class Decay(PlasticityRule):
    """The smallest rule of one's own: one method."""

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        return rate * (signal.mT @ pre - weight)


class Halfway(CreditRule):
    """A credit rule of one's own: what carries errors back, and how the feedback follows."""

    def through(self, weight: Tensor, feedback: Tensor) -> Tensor:
        return 0.5 * (weight + feedback)

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        return 0.1 * (site.weight - feedback)


class OwnFeedback(CreditRule):
    """A credit rule of one's own that makes its feedback itself."""

    def first(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        return weight.sign() * 0.1


def mirrored(small: float = 1e-8) -> LearningRule:
    """Feedback mirrored at the start and in sleep; synapses that remember.

    The bias of attention's keys has a gradient of 0 up to rounding. Adaptive plasticity divides it
    by its own size, so that two roundings would be compared unless `small` is far above them.
    """
    return LearningRule(
        _random(),
        Adaptive(rate=1e-3, per="shared", small=small),
        Sleep(asleep=MirrorAlignment(rate=0.05, decay=0.05, examples=4), at_start=5, every=4,
              steps=2),
    )  # fmt: skip


def learned_per_synapse() -> LearningRule:
    """Every coefficient of the alignment and every rate is a synapse's own."""
    follow = KolenPollackAlignment(decay=0.01, learn=True, per="synapse")
    return LearningRule(_random("learned"), Delta(rate=0.01), follow)


def regularized() -> LearningRule:
    """Feedback down a sum of all five primitives, on noise, with learned coefficients."""
    follow = RegularizedAlignment(
        decay=0.5, amp=0.5, null=0.2, sparse=0.1, self_=0.4, rate=0.01, inputs="noise",
        learn=True,
    )  # fmt: skip
    return LearningRule(_random(), Delta(rate=0.01, per="layer"), follow)


def _random(weights: str = "redrawn") -> RandomFeedback:
    return RandomFeedback(weights=weights, spread="xavier")  # type: ignore[arg-type]


def _by_backprop(kind: type[PlasticityRule]) -> Make:
    return lambda: LearningRule(Backprop(), kind(rate=0.01))


NAMED: dict[str, Make] = {
    name: kind for name, kind in rules().items() if kind.route != "inverse"
}  # fmt: skip
"""Those with signals at sites; the others carry targets through inverses."""
OTHERS: dict[str, Make] = {
    "mirrored, adaptive": mirrored,
    "polynomial": lambda: LearningRule(
        RandomFeedback(weights="redrawn", level=True),
        Polynomial(POOL, first=dict.fromkeys(POOL, 0.01), normalized=True),
    ),
    "polynomial of all terms, raw": lambda: LearningRule(
        RandomFeedback(weights="redrawn"),
        Polynomial(tuple(TERMS), first=dict.fromkeys(TERMS, 0.003), positions="sum"),
    ),
    "polynomial without sums over synapses": lambda: LearningRule(
        RandomFeedback(weights="redrawn", level=True),
        Polynomial(LIGHT, first=dict.fromkeys(LIGHT, 0.02), normalized=True),
    ),
    "polynomial, direct": lambda: LearningRule(
        RandomDirect(weights="redrawn", level=True),
        Polynomial(POOL, first=dict.fromkeys(POOL, 0.01), normalized=True),
    ),
    "hebb": _by_backprop(Hebb),
    "oja": _by_backprop(Oja),
    "stable oja": _by_backprop(StableOja),
    "normalized hebb": _by_backprop(NormalizedHebb),
    "adaptive traces learned": lambda: LearningRule(
        Backprop(), Adaptive(rate=1e-3, small=1e-3, decay=10.0, learn_traces=True)
    ),
    "kolen-pollack per synapse": learned_per_synapse,
    "regularized, learned": regularized,
    "plasticity of one's own": lambda: LearningRule(_random(), Decay(rate=0.01)),
    "credit rule of one's own": Halfway,
    "own feedback": OwnFeedback,
}
POINTS: dict[str, Make] = NAMED | OTHERS


def point(name: str, network: str) -> Make:
    """How to make the rule of this name for one of the networks."""
    if (name, network) == ("mirrored, adaptive", "attention"):
        return partial(mirrored, small=1e-3)
    return POINTS[name]
