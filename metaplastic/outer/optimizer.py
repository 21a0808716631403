"""Optimizers and learning-rate schedules of the outer loop, by parameter group.

Meta-parameters fall into groups that need very different learning rates: slow weights, feedback,
plasticity, feedback strength. Both functions return torch objects.
"""

from __future__ import annotations

import inspect
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from metaplastic.support.choices import did_you_mean

if TYPE_CHECKING:
    from metaplastic.inner.learner import OnlineLearner

GROUPS = ("weights", "feedback", "plasticity", "strength")
SCHEDULES = ("constant", "cosine", "linear", "multistep", "exponential")


def make_optimizer(
    learner: OnlineLearner,
    rates: Mapping[str, float],
    kind: str | type[Optimizer] = "Adam",
    **options: Any,
) -> Optimizer:
    """An optimizer with one named parameter group for each group of the learner that has a rate.

    A group whose rate is 0 or not given is frozen: it is omitted, so that neither momentum nor
    weight decay changes it. `frozen_groups` lists these.

    Args:
        rates: learning rates by group: weights, feedback, plasticity, strength. A rate for a
            group that this learner lacks is ignored, so that one preset fits many methods.
        kind: a class of `torch.optim` or its name.
        options: passed to the optimizer (`betas`, `weight_decay`, ...).

    Raises:
        ValueError: for an unknown group or optimizer, a rate below 0, or no group with a rate.
    """
    make = _optimizer_class(kind)
    _check_names(rates, "rates")
    for name, rate in rates.items():
        if not (math.isfinite(rate) and rate >= 0):
            raise ValueError(f"The rate of {name} is {rate!r}; it must be 0 (frozen) or positive.")
    parameters = learner.parameter_groups()
    groups = [
        {"params": parameters[name], "lr": float(rates[name]), "name": name}
        for name in GROUPS
        if rates.get(name) and parameters.get(name)
    ]
    if not groups:
        raise ValueError(
            f"With rates {dict(rates)!r} every group of this learner is frozen. "
            f"Give one of {', '.join(k for k, v in parameters.items() if v)} a positive rate."
        )
    accepted = inspect.signature(make).parameters
    for name in options:
        if name not in accepted or name in ("params", "lr"):
            raise TypeError(
                f"{make.__name__} does not take the option {name!r}.{_nearest(name, accepted)}"
            )
    return make(groups, **options)


def frozen_groups(learner: OnlineLearner, optimizer: Optimizer) -> tuple[str, ...]:
    """The learner's groups that are not in `optimizer`."""
    trained = {group.get("name") for group in optimizer.param_groups}
    groups = learner.parameter_groups()
    return tuple(name for name in groups if groups[name] and name not in trained)


class Schedule(LambdaLR):
    """A `LambdaLR` with a `description`, which is part of a run's identity.

    A resumed run compares it, so that the schedule of a run cannot change.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factors: list[Callable[[int], float]],
        description: dict[str, Any],
    ) -> None:
        self.description = description
        super().__init__(optimizer, factors)


def make_schedule(
    optimizer: Optimizer,
    kind: str = "constant",
    *,
    steps: int | None = None,
    warmup: int = 0,
    groups: Iterable[str] | None = None,
    milestones: Sequence[int] = (),
    gamma: float = 0.1,
    floor: float = 0.0,
) -> Schedule:
    """A learning-rate schedule over meta-steps: a factor on the rate of each group.

    Args:
        kind: "constant"; "cosine" or "linear" from 1 to `floor` over `steps`; "multistep", times
            `gamma` at each of `milestones`; "exponential", times `gamma` every step.
        warmup: meta-steps over which the factor first rises linearly from 1 / warmup to full.
        groups: names of the groups it applies to (all of them by default); the others keep their
            rates. The published FLP code decays the weights only: `kind="multistep",
            milestones=(1500, 2500, 3500), gamma=0.3, groups=("weights",)`.

    Raises:
        ValueError: for an unknown kind or group, or missing or inconsistent numbers.
    """
    if kind not in SCHEDULES:
        raise ValueError(f"There is no schedule {kind!r}.{_nearest(kind, SCHEDULES)}")
    if kind in ("cosine", "linear") and (steps is None or steps <= warmup):
        raise ValueError(
            f"A {kind} schedule needs steps, the length of the run, above warmup = {warmup}; "
            f"it was given {steps!r}."
        )
    if kind == "multistep" and list(milestones) != sorted(set(milestones)):
        raise ValueError(f"milestones must be strictly increasing; they are {milestones!r}.")
    names = [group.get("name", str(i)) for i, group in enumerate(optimizer.param_groups)]
    chosen = names if groups is None else list(groups)
    _check_names(chosen, "groups", (*GROUPS, *names))
    at = tuple(milestones)

    def factor(step: int) -> float:
        match kind:
            case "cosine":
                wave = (1 + math.cos(math.pi * _progress(step, steps or 0, warmup))) / 2
                shape = floor + (1 - floor) * wave
            case "linear":
                shape = floor + (1 - floor) * (1 - _progress(step, steps or 0, warmup))
            case "multistep":
                shape = gamma ** bisect_right(at, step)
            case "exponential":
                shape = gamma**step
            case _:
                shape = 1.0
        return min(1.0, (step + 1) / warmup) * shape if warmup else shape

    description = {
        "kind": kind,
        "steps": steps,
        "warmup": warmup,
        "groups": sorted(chosen),
        "milestones": list(milestones),
        "gamma": gamma,
        "floor": floor,
    }
    factors: list[Callable[[int], float]] = [
        factor if name in chosen else _constant for name in names
    ]
    return Schedule(optimizer, factors, description)


def _constant(step: int) -> float:
    return 1.0


def _progress(step: int, steps: int, warmup: int) -> float:
    return min(max((step - warmup) / (steps - warmup), 0.0), 1.0)


def _optimizer_class(kind: str | type[Optimizer]) -> type[Optimizer]:
    named = {
        name: value
        for name, value in vars(torch.optim).items()
        if inspect.isclass(value) and issubclass(value, Optimizer) and value is not Optimizer
    }
    if isinstance(kind, str):
        if kind not in named:
            raise ValueError(f"torch.optim has no optimizer {kind!r}.{_nearest(kind, named)}")
        kind = named[kind]
    if issubclass(kind, torch.optim.LBFGS):
        raise ValueError(
            "LBFGS evaluates the loss several times a step, which a meta-step does not. "
            "Choose a first-order optimizer, such as 'Adam'."
        )
    return kind


def _check_names(given: Iterable[str], what: str, known: Sequence[str] = GROUPS) -> None:
    for name in given:
        if name not in known:
            raise ValueError(f"{what} names {name!r}, which is not a group of meta-parameters."
                             f"{_nearest(name, known)}")  # fmt: skip


def _nearest(name: str, known: Iterable[str]) -> str:
    return did_you_mean(name, known) or f" The choices are {', '.join(dict.fromkeys(known))}."
