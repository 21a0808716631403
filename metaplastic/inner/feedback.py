"""Feedback in the inner loop: how it follows after a step, and what it does in sleep."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from metaplastic.alignment.base import AtSite
from metaplastic.alignment.sleep import Sleep
from metaplastic.inner.network import PlasticNetwork
from metaplastic.inner.state import State
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.sites.products import Product
from metaplastic.support.noise import fold


def followed(
    rule: LearningRule,
    network: PlasticNetwork,
    state: State,
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    products: list[Product],
    number: int | None = None,
) -> dict[str, Tensor]:
    """The feedback weights after a step of the alignment rule; `number` as for `step`."""
    alignment = rule.alignment
    if not state.feedback or not (alignment.follows or alignment.noise):
        return state.feedback
    calls: dict[str, list[Product]] = {}
    for product in products if alignment.sees_inputs else ():
        calls.setdefault(product.site, []).append(product)
    found = dict(state.feedback)
    steps = state.step if number is None else number
    for site in state.feedback:
        weight, was = network.weight(site, after), network.weight(site, before)
        at = AtSite(
            site, weight, weight - was, was, tuple(calls.get(site, ())), steps,
            partial(fold, state.seed, "alignment", site, state.step),
        )  # fmt: skip
        if alignment.follows and not (alignment.sees_inputs and site not in calls):
            change = alignment.follow(found[site], at)
            if change is not None:
                found[site] = found[site] + change
        if alignment.noise:
            found[site] = found[site] + alignment.noise * at.noise(found[site].shape, "noise")
    return found


def sleep(
    rule: LearningRule,
    network: PlasticNetwork,
    state: State,
    x: Any = None,
    *,
    number: int | None = None,
) -> State:
    """The state after the sleeping steps that are due before this step, if any."""
    alignment = rule.alignment
    if not isinstance(alignment, Sleep) or not state.feedback:
        return state
    steps = int(state.step) if number is None else number
    due = alignment.due(steps)
    feedback = dict(state.feedback)
    for asleep in range(due):
        for site in feedback:
            weight = network.weight(site, state.weights)
            calls = tuple(network.silent_calls(site))
            key = partial(fold, state.seed, "sleep", site, state.step, asleep)
            at = AtSite(site, weight, torch.zeros_like(weight), weight, calls, steps, key)
            change = alignment.asleep.follow(feedback[site], at)
            if change is not None:
                feedback[site] = feedback[site] + change
    return state._replace(feedback=feedback)
