"""FLP in a form with stable meta-training: log rates, and a normalized rule for regression.

Regression. Differences from the published form, each an option: feedback is not rectified, so that
its sign is kept; it is gated by the derivative of the unit's activation; the readout receives the
error itself; the update is divided by the power of the input, which bounds the stable rates.

Images. The published pathway, averaged over a step's examples instead of summed, with a small
initial hidden rate.

Hundreds of classes. Rows of the readout start at zero and are compared by the cosine, so that a
small rate makes a row the mean of its examples; rates are per feature, for any number of classes.
Hidden rates start a hundred times smaller still: changes that are small in a lifetime of 64
examples add up in one of 9,000.

In all cases hidden rates start small, not multiplied by 100: large updates of a hidden layer change
the readout's features before the outer loop has adapted to them. Rates are log-scaled: a meta-step
changes them by a fraction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from experiments.lab.networks.problem import MANY_CLASSES, Problem
from experiments.lab.settings.config import Preset
from metaplastic import (
    Backprop,
    Direct,
    FeedbackPathway,
    Hebb,
    Initialization,
    LearningRule,
    NormalizedHebb,
    Oja,
    OnlineLearner,
    PlasticityRule,
    StableOja,
    Unroll,
    objective_for,
)

RULES: dict[str, Callable[..., PlasticityRule]] = {
    "normalized_hebb": NormalizedHebb,
    "hebb": Hebb,
    "oja": Oja,
    "stable_oja": StableOja,
}


def build(
    problem: Problem,
    *,
    plasticity: Literal["normalized_hebb", "hebb", "oja", "stable_oja"] | None = None,
    teaching: Literal["error", "label"] | None = None,
    feedback: Literal["learned", "random", "none", "gradient"] = "learned",
    nonlinearity: Literal["linear", "relu"] | None = None,
    gate: Literal["derivative", "none"] | None = None,
    readout: Literal["clamped", "feedback"] = "clamped",
    per: Literal["synapse", "neuron", "feature", "layer", "shared"] | None = None,
    scale: Literal["log", "raw"] = "log",
    rate: float | None = None,
    learn_rate: bool = True,
    hidden: float | None = None,
    plastic: int | None = None,
    head: Literal["linear", "cosine"] | None = None,
    channels: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
    both_ways: bool | None = None,
) -> OnlineLearner:
    """None is the default for the task.

    `feedback="gradient"` uses the exact gradient as the signal of the same rule: a control.
    `rate` is the plasticity at the first meta-step, `hidden` the factor on it in hidden layers,
    `plastic` the number of plastic layers at the end. `head` compares by the product, or by the
    cosine with features of unit length. `channels` and `strides` are those of the convolutions.
    `both_ways`: meta-training also runs each lifetime with support and query exchanged (`Unroll`).
    """
    problem = replace(problem, channels=channels, strides=strides)
    images, many = problem.classification, problem.many_classes
    head = head or ("cosine" if many else "linear")
    plastic = plastic or problem.plastic
    pathway: FeedbackPathway
    if feedback == "gradient":
        pathway = Backprop()
    else:
        pathway = Direct(
            teaching=teaching or ("label" if images else "error"),
            nonlinearity=nonlinearity or ("relu" if images else "linear"),
            gate=gate or ("none" if images else "derivative"),
            feedback=feedback,
            readout=readout,
            strength=1.0,
            learn_strength=False,
        )
    rule = LearningRule(
        pathway,
        RULES[plasticity or ("oja" if images else "normalized_hebb")](
            rate=(0.05 if many else 0.2 if images else 0.3) if rate is None else rate,
            per=per or ("feature" if many else "synapse"),
            scale=scale,
            learn=learn_rate,
        ),
        hidden_multiplier=_small(images, many) if hidden is None else hidden,
    )
    return OnlineLearner(
        # Where nothing but the head is plastic, what it reads is a code, not a layer of units.
        problem.network(head, hidden="linear" if many and plastic == 1 else "relu"),
        rule,
        objective_for(problem.spec),
        plastic=plastic,
        initialization=Initialization(readout="zeroed") if head == "cosine" else None,
        unroll=Unroll(both_ways=many and plastic == 1 if both_ways is None else both_ways),
    )


def _small(images: bool, many: bool) -> float:
    """The initial factor of hidden rates; for many classes chosen on validation."""
    return 1e-5 if many else 1e-3 if images else 0.1


def rates(problem: Problem) -> dict[str, float]:
    """A log-scaled rate moves by about 3 % a meta-step, or 0.3 % in the many of large episodes."""
    if problem.many_classes:
        return {"weights": 1.5e-3, "feedback": 1.5e-3, "plasticity": 3e-3, "strength": 1e-3}
    return {"weights": 2e-3, "feedback": 2e-3, "plasticity": 3e-2, "strength": 1e-3}


def stream(task: str, size: Preset) -> dict[str, Any]:
    """Two support and two query images per class: short lifetimes, many of them.

    Eight classes at a time are from one alphabet, since classes of one alphabet are similar.
    """
    if task not in MANY_CLASSES or size == "tiny":
        return {}
    few = {"ways": 32, "slots": 32, "shots": 2, "queries_per_class": 2}
    return {**few, "neighbors": 8}
