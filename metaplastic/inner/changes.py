"""The changes of sites, biases and other parameters in a step, from the signals.

A weight that is used several times in a step (shared, or in a module called twice) changes by the
rows of all its uses together. A packed weight changes part by part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from metaplastic.inner.network import PlasticNetwork
from metaplastic.inner.site_change import Signals, change_of_part
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.sites.shape import SiteShape

Rates = Mapping[str, Tensor]


@dataclass
class Changes:
    """The changes by parameter, and the traces after the step."""

    weights: dict[str, Tensor]
    traces: dict[str, Tensor]


def changes_of(
    rule: LearningRule,
    network: PlasticNetwork,
    values: Mapping[str, Tensor],
    traces: Mapping[str, Tensor],
    step: Tensor,
    rates: Rates,
    seen: Signals,
) -> Changes:
    """The changes of step number `step`, from 1; `rates` are the rule's `coefficients`."""
    found = Changes({}, {})
    learned = set(network.learned)
    for site, groups in _groups(network, seen).items():
        shape, name = network.shape_of[site], network.parameter(site)
        rate = rates[site + ".weight"]
        if name in learned:
            change, after = _of_site(
                rule, shape, values[name], traces, name, step, rate, groups, seen
            )
            found.weights[name] = change
            found.traces |= after
        _of_biases(rule, found, values, traces, step, rates, learned, groups, seen, shape)
    for name in network.others if rule.plasticity.moves_others else ():
        own = {trace: traces[f"{trace} of {name}"] for trace in rule.plasticity.traces}
        rate = _other_rate(rule, rates, seen.batch)
        change, kept = rule.plasticity.along(seen.pushes[name], rate, own, step)
        found.weights[name] = change.reshape(values[name].shape)
        found.traces |= {f"{trace} of {name}": value for trace, value in kept.items()}
    return found


def _groups(network: PlasticNetwork, seen: Signals) -> dict[str, list[list[int]]]:
    """Site -> groups of products of the same synapses, by number."""
    found: dict[str, dict[Any, list[int]]] = {}
    for number, product in enumerate(seen.products):
        if network.found.is_derived(product.site) and not network.computed:
            continue
        part = (-1 if not product.source.views else number, type(product.operation))
        found.setdefault(product.site, {}).setdefault(part, []).append(number)
    return {site: list(parts.values()) for site, parts in found.items()}


def _of_site(
    rule: LearningRule,
    shape: SiteShape,
    weight: Tensor,
    traces: Mapping[str, Tensor],
    name: str,
    step: Tensor,
    rate: Tensor,
    groups: list[list[int]],
    seen: Signals,
) -> tuple[Tensor, dict[str, Tensor]]:
    own = {trace: traces[f"{trace} of {name}"] for trace in rule.plasticity.traces}
    total: Tensor | None = None
    after: dict[str, Tensor] = {}
    for numbers in groups:
        product = seen.products[numbers[0]]
        part = product.view(weight)
        mine = {trace: product.view(value) for trace, value in own.items()}
        change, kept = change_of_part(rule.plasticity, shape, numbers, part, mine, step, rate, seen)
        for trace, value in kept.items():
            full = product.scattered(value, weight)
            key = f"{trace} of {name}"
            after[key] = after[key] + full if key in after else full
        full = product.scattered(change, weight)
        total = full if total is None else total + full
    assert total is not None
    return total, after


def _of_biases(
    rule: LearningRule,
    found: Changes,
    values: Mapping[str, Tensor],
    traces: Mapping[str, Tensor],
    step: Tensor,
    rates: Rates,
    learned: set[str],
    groups: list[list[int]],
    seen: Signals,
    shape: SiteShape,
) -> None:
    plasticity = rule.plasticity
    if not plasticity.moves_bias:
        return
    pushes: dict[str, Tensor] = {}
    positions = 1
    for number in (n for numbers in groups for n in numbers):
        product, signal = seen.products[number], seen.signals[number]
        if product.bias is None or product.bias.weight not in learned:
            continue
        units = product.operation.units_last(signal)
        positions = max(positions, units[..., 0].numel() // seen.batch)
        push = units.reshape(-1, units.shape[-1]).sum(0)
        full = product.scattered_bias(push, values[product.bias.weight])
        name = product.bias.weight
        pushes[name] = pushes[name] + full if name in pushes else full
    for name, push in pushes.items():
        rate = rates[shape.name + ".bias"]
        if plasticity.averages_positions and positions > 1 and not plasticity.relative:
            rate = rate / positions
        own = {trace: traces[f"{trace} of {name}"] for trace in plasticity.traces}
        change, kept = plasticity.along(push, rate, own, step)
        found.weights[name] = change
        found.traces |= {f"{trace} of {name}": value for trace, value in kept.items()}


def _other_rate(rule: LearningRule, rates: Rates, batch: int) -> Tensor:
    """The rate of parameters of no site: that of the readout's bias or, without one, its weight."""
    last = list(rates)[-1]
    rate = rates[last]
    return rate.mean() if rate.numel() > 1 and rate.dim() < 3 else rate.reshape(-1)[0]
