"""The end of a step's graph read as sums: what is added to each tensor that the step changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx

from metaplastic.traced.simplify import MOVED, same_layout

aten = torch.ops.aten


@dataclass(frozen=True)
class Term:
    """`number * rates * value`, added to a target; value is `left @ right` where there are two.

    `toward` adds `number * (value - target)` instead.
    """

    values: tuple[fx.Node, ...]
    number: float = 1.0
    rates: tuple[fx.Node, ...] = ()  # inputs of one number each
    toward: bool = False


def terms_of(after: fx.Node, target: fx.Node, one_number: set[fx.Node]) -> list[Term] | None:
    """The terms of a sum in which `target` stands once, without it; None if it is no such sum.

    One that needs the target as it was is the first of them.
    """
    parts = parts_of(after, target)
    if parts is None:
        return None
    found = _joined([_scaled(part, target, one_number) for part in parts], target)
    needs = [term for term in found if term.toward or target in term.values]
    if len(needs) > 1:
        return None
    return needs + [term for term in found if term not in needs]


def parts_of(node: fx.Node, base: fx.Node) -> list[fx.Node] | None:
    """What a node adds to `base`; None if it is no sum in which that stands once."""
    if node is base:
        return []
    if node.target is not aten.add.Tensor or node.kwargs:
        return None
    for one, other in (node.args, node.args[::-1]):
        if isinstance(one, fx.Node) and isinstance(other, fx.Node):
            found = parts_of(one, base)
            if found is not None:
                return found + _parts(other)
    return None


def _parts(node: fx.Node) -> list[fx.Node]:
    """The summands of a node."""
    if node.target is aten.add.Tensor and not node.kwargs:
        parts = [part for part in node.args if isinstance(part, fx.Node)]
        if len(parts) == 2 and all(same_layout(part, node) for part in parts):
            return _parts(parts[0]) + _parts(parts[1])
    return [node]


def _scaled(node: fx.Node, target: fx.Node, one_number: set[fx.Node]) -> Term:
    """A summand as numbers that multiply a value."""
    number, rates = 1.0, tuple[fx.Node, ...]()
    while node.target is aten.mul.Tensor:
        for factor, value in (node.args, node.args[::-1]):
            rate = _rate(factor, one_number)
            plain = isinstance(factor, int | float)
            if (rate is None and not plain) or not same_layout(value, node):
                continue
            number *= float(factor) if plain else 1.0  # type: ignore[arg-type]
            rates += () if rate is None else (rate,)
            node = value  # type: ignore[assignment]
            break
        else:
            break
    if node.target is aten.mm.default and target.meta["val"].dim() == 2:
        return Term(tuple(node.args), number, rates)  # type: ignore[arg-type]
    away = node.target is aten.sub.Tensor and not node.kwargs and node.args[1] is target
    if away and same_layout(node.args[0], target):
        return Term((node.args[0],), number, rates, toward=True)  # type: ignore[arg-type]
    return Term((node,), number, rates)


def _joined(terms: list[Term], target: fx.Node) -> list[Term]:
    """`-d target + d value` is a step toward the value."""
    own = [term for term in terms if term.values == (target,)]
    for term in own:
        for other in terms:
            alike = other.number == -term.number and other.rates == term.rates
            if alike and other is not term and same_layout(other.values[0], target):
                rest = [t for t in terms if t is not term and t is not other]
                if len(other.values) == 1 and not other.toward:
                    return [replace(other, toward=True), *rest]
    return terms


def _rate(node: Any, one_number: set[fx.Node]) -> fx.Node | None:
    """The rate that a node is a view of."""
    while isinstance(node, fx.Node) and node not in one_number and node.target in MOVED:
        node = node.args[0]
    return node if isinstance(node, fx.Node) and node in one_number else None
