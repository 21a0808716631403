"""OML: a representation meta-learned so that plain online SGD on top of it does not interfere.

Javed & White (2019), with the exact second-order meta-gradient. The rows of the classes to come are
redrawn before each lifetime, and the whole readout at test, as in the released code. At laptop size
inner rates are learned per parameter (Meta-SGD), as FLP's are; at paper size they are the published
constants, and the sine net's last three layers learn. Where there are hundreds of classes, rates
are per feature. Meta-training at paper size is then OML's: labels are those of all classes, three
of them are in the support, and queries are of these and of others in the remember set. At laptop
size the lifetimes are those of `flp_stable`, which after three minutes gave it better validation
accuracy than its own, or than ten or twenty classes of more images each.
"""

from __future__ import annotations

from typing import Any, Literal

from experiments.lab.networks.problem import MANY_CLASSES, Problem
from experiments.lab.settings.config import Preset
from experiments.methods import flp_stable
from metaplastic import Backprop, Delta, Initialization, LearningRule, OnlineLearner, objective_for


def build(
    problem: Problem,
    *,
    second_order: bool = True,
    per: Literal["synapse", "neuron", "feature", "layer", "shared"] | None = None,
    scale: Literal["log", "raw"] = "log",
    rate: float | None = None,
    learn_rate: bool | None = None,
    plastic: int | None = None,
    redraw: bool = True,
) -> OnlineLearner:
    """`rate` is the inner rate at the first meta-step; None is the default for the task.

    `redraw` is OML's treatment of the readout: its rows in training, all of it at test.
    """
    paper = problem.size == "paper"
    if rate is None:
        rate = 0.03 if problem.classification else 0.003 if paper else 0.001
    if learn_rate is None:
        learn_rate = not paper
    if plastic is None:
        plastic = 3 if paper and not problem.classification else problem.plastic
    rule = LearningRule(
        Backprop(second_order=second_order),
        Delta(
            rate=rate,
            per=per or ("feature" if problem.many_classes else "synapse"),
            scale=scale,
            learn=learn_rate,
        ),
    )
    redraw = redraw and problem.classification
    return OnlineLearner(
        problem.network(),
        rule,
        objective_for(problem.spec),
        plastic=plastic,
        initialization=Initialization(readout="rows") if redraw else None,
        initialization_at_test=Initialization(readout="redrawn") if redraw else None,
    )


def rates(problem: Problem) -> dict[str, float]:
    """Adam's; the published weights' rate at paper size."""
    if problem.size == "paper":
        return {"weights": 1e-4, "plasticity": 1e-2}
    return {"weights": 2e-3, "plasticity": 3e-2}


def stream(task: str, size: Preset) -> dict[str, Any]:
    """Lifetimes of the released code, with as many remembered images as ANML's."""
    if task not in MANY_CLASSES or size == "laptop":
        return flp_stable.stream(task, size)
    few = {"labels": "global", "slots": None, "ways": 3, "shots": 5, "queries_per_class": 5}
    return {**few, "remember": 64} if size != "tiny" else {**few, "ways": 2, "remember": 4}
