"""Bounds of what a graph computes, from bounds of what it reads: interval arithmetic.

A change that is known to be finite before it is computed can be written where it belongs at once.
Bounds hold for numbers of 32 bits, with room for their rounding: what could come near the largest
is not bounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from metaplastic.traced.simplify import MOVED, SAME

aten = torch.ops.aten
Bounds = tuple[float, float]
MOST, LEAST = 1e37, 1e-37  # what is larger is not bounded; what is smaller may be rounded to 0


def bounds_of(nodes: Iterable[fx.Node], known: Mapping[fx.Node, Bounds]) -> dict[fx.Node, Bounds]:
    """The lowest and the highest value of each node, in order, where there are bounds."""
    found = dict(known)
    for node in nodes:
        if node in found or node.target not in RULES:
            continue
        try:
            low, high = RULES[node.target](node, lambda one: _of(one, found))
        except _UnknownError:
            continue
        if -MOST < low <= high < MOST:
            found[node] = low, high
    return found


class _UnknownError(Exception):
    """There are no bounds."""


def _of(argument: Any, found: Mapping[fx.Node, Bounds]) -> Bounds:
    if isinstance(argument, int | float):
        return float(argument), float(argument)
    if argument not in found:
        raise _UnknownError
    return found[argument]


Look = Callable[[Any], Bounds]
Rule = Callable[[fx.Node, Look], Bounds]


def _hull(*values: float) -> Bounds:
    return min(values), max(values)


def _times(a: Bounds, b: Bounds) -> Bounds:
    return _hull(*(x * y for x in a for y in b))


def _plus(a: Bounds, b: Bounds) -> Bounds:
    return a[0] + b[0], a[1] + b[1]


def _alpha(node: fx.Node) -> Bounds:
    alpha: Any = node.kwargs.get("alpha", node.args[2] if len(node.args) > 2 else 1)
    return float(alpha), float(alpha)


def _add(node: fx.Node, of: Look) -> Bounds:
    return _plus(of(node.args[0]), _times(of(node.args[1]), _alpha(node)))


def _sub(node: fx.Node, of: Look) -> Bounds:
    return _plus(of(node.args[0]), _times(of(node.args[1]), _times((-1, -1), _alpha(node))))


def _rsub(node: fx.Node, of: Look) -> Bounds:
    return _plus(of(node.args[1]), _times(of(node.args[0]), _times((-1, -1), _alpha(node))))


def _mul(node: fx.Node, of: Look) -> Bounds:
    if node.args[0] is node.args[1]:
        return _square(of(node.args[0]))
    return _times(of(node.args[0]), of(node.args[1]))


def _div(node: fx.Node, of: Look) -> Bounds:
    low, high = of(node.args[1])
    if node.kwargs or not (low > LEAST or high < -LEAST):
        raise _UnknownError
    return _times(of(node.args[0]), (1 / high, 1 / low))


def _square(a: Bounds) -> Bounds:
    top = max(abs(a[0]), abs(a[1]))
    return (0.0 if a[0] <= 0 <= a[1] else min(abs(a[0]), abs(a[1])) ** 2), top**2


def _power(node: fx.Node, of: Look) -> Bounds:
    (low, high), power = of(node.args[0]), node.args[1]
    if power == 2:
        return _square((low, high))
    if low <= LEAST or not isinstance(power, int | float):
        raise _UnknownError
    return _hull(low**power, high**power)


def _power_of_number(node: fx.Node, of: Look) -> Bounds:
    base, (low, high) = node.args[0], of(node.args[1])
    if not isinstance(base, int | float) or not 0 < base <= 1:
        raise _UnknownError
    return base**high, base**low


def _sqrt(node: fx.Node, of: Look) -> Bounds:
    low, high = of(node.args[0])
    if low < 0:
        raise _UnknownError
    return math.sqrt(low if low > LEAST else 0.0), math.sqrt(high)


def _lerp(node: fx.Node, of: Look) -> Bounds:
    weight = node.args[2]
    if not isinstance(weight, int | float) or not 0 <= weight <= 1:
        raise _UnknownError
    a, b = of(node.args[0]), of(node.args[1])
    return _plus(_times(a, (1 - weight, 1 - weight)), _times(b, (weight, weight)))


def _clamp(node: fx.Node, of: Look) -> Bounds:
    ends = [*node.args[1:], None, None][:2]
    low, high = (math.nan if end is None else float(end) for end in ends)  # type: ignore[arg-type]
    return tuple(min(max(one, low), high) for one in of(node.args[0]))  # type: ignore[return-value]


def _neg(node: fx.Node, of: Look) -> Bounds:
    return _times(of(node.args[0]), (-1, -1))


def _abs(node: fx.Node, of: Look) -> Bounds:
    low, high = of(node.args[0])
    return (0.0 if low <= 0 <= high else min(abs(low), abs(high))), max(abs(low), abs(high))


def _same(node: fx.Node, of: Look) -> Bounds:
    return of(node.args[0])


def _outer(node: fx.Node, of: Look) -> Bounds:
    """A product of matrices, each entry a sum of as many products as there are columns."""
    columns = _value(node.args[0]).shape[1]
    return _times(_times(of(node.args[0]), of(node.args[1])), (columns, columns))


def _value(node: Any) -> Tensor:
    value = node.meta.get("val")
    if not isinstance(value, Tensor):
        raise _UnknownError
    return value


RULES: dict[Any, Rule] = {
    aten.add.Tensor: _add, aten.sub.Tensor: _sub, aten.rsub.Scalar: _rsub, aten.mul.Tensor: _mul,
    aten.div.Tensor: _div, aten.pow.Tensor_Scalar: _power, aten.pow.Scalar: _power_of_number,
    aten.sqrt.default: _sqrt, aten.lerp.Scalar: _lerp, aten.neg.default: _neg,
    aten.abs.default: _abs, aten.clamp.default: _clamp, aten._to_copy.default: _same,
    aten.mm.default: _outer,
    **dict.fromkeys(MOVED | SAME, _same),
}  # fmt: skip
BOUNDED = set(RULES) - {aten.mm.default}  # an entry of the result needs few of an argument
