"""A graph without the operations whose result is known: the same numbers, with less work.

An inner step is written twice over one network, so that it can be differentiated as often as
needed: as it runs, and with signals at its products (`inner.passes`). As a graph the second pass is
the first again, plus products with zero; what is left is what a step written out by hand would do.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from metaplastic.traced.one_task import without_axis_of_one

aten = torch.ops.aten
SAME = {aten.clone.default, aten.alias.default, aten.detach.default, aten.lift_fresh_copy.default}
VIEWS = {aten.view.default, aten._unsafe_view.default, aten.reshape.default}
MOVED = SAME | VIEWS | {
    aten.expand.default, aten.select.int, aten.unsqueeze.default, aten.squeeze.dim, aten.t.default,
    aten.squeeze.dims, aten.transpose.int, aten.permute.default, aten.slice.Tensor,
}  # fmt: skip
PRODUCTS = {aten.mul.Tensor, aten.mm.default, aten.bmm.default}
SUMS = {aten.sum.default, aten.sum.dim_IntList}
FILLED = {
    aten.zeros_like.default: 0.0, aten.zeros.default: 0.0, aten.new_zeros.default: 0.0,
    aten.ones_like.default: 1.0, aten.ones.default: 1.0,
}  # fmt: skip


def simplified(graph: fx.Graph) -> fx.Graph:
    """The graph, in place, with every operation once and none whose result is known."""
    filled: dict[fx.Node, float] = {}  # nodes, all of whose entries are one known number
    seen: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        number = _number(node, filled)
        if number is not None and isinstance(node.meta.get("val"), Tensor):
            filled[node] = number
            continue
        known = _known(node, filled)
        if known is None:
            key = (node.target, repr(node.args), repr(node.kwargs))
            known = seen.setdefault(key, node)
        if known is not node:
            node.replace_all_uses_with(known)
            graph.erase_node(node)
    without_axis_of_one(graph)
    _gradients_at_once(graph)
    graph.eliminate_dead_code()
    return graph


def _number(node: fx.Node, filled: dict[fx.Node, float]) -> float | None:
    """The number that all entries of a node have, if it is known."""
    target, args = node.target, node.args
    if target in FILLED:
        return FILLED[target]
    if target is aten.full.default or target is aten.full_like.default:
        return float(args[1]) if isinstance(args[1], int | float) else None
    of = [_of(arg, filled) for arg in args[:2]]
    if target in MOVED:
        return of[0]
    if target in (aten.stack.default, aten.cat.default):
        parts = {_of(part, filled) for part in args[0]}  # type: ignore[union-attr]
        return parts.pop() if len(parts) == 1 else None
    if target is aten.sub.Tensor and args[0] is args[1]:
        return 0.0
    if target in PRODUCTS and 0.0 in of:
        return 0.0
    if target is aten.convolution.default and of[0] == 0 and args[2] is None:
        return 0.0
    if target in SUMS and of[0] == 0:
        return 0.0
    return None


def _of(arg: Any, filled: dict[fx.Node, float]) -> float | None:
    if isinstance(arg, fx.Node):
        return filled.get(arg)
    return float(arg) if isinstance(arg, int | float) else None


def _known(node: fx.Node, filled: dict[fx.Node, float]) -> fx.Node | None:
    """An earlier node that is this one's result, if there is one."""
    target, args = node.target, node.args
    given: list[Any] = list(args[:2])
    if target in SAME or (target in VIEWS and same_layout(given[0], node)):
        return _if_same(given[0], node)
    if target is aten.expand.default:
        return _if_same(given[0], node)
    if target is aten.add.Tensor and not node.kwargs:
        return _beside(0.0, given, node, filled)
    if target is aten.mul.Tensor:
        return _beside(1.0, given, node, filled)
    if target is aten.sub.Tensor and not node.kwargs:
        if _of(given[1], filled) == 0:
            return _if_same(given[0], node)
        return _what_was_added(given[0], given[1], node)
    inner = given[0] if given and isinstance(given[0], fx.Node) else None
    if inner is None or inner.op != "call_function":
        return None
    twice = inner.target is target and inner.args[1:] == args[1:]
    if target in (aten.t.default, aten.transpose.int) and twice:
        return inner.args[0]  # type: ignore[return-value]
    if target in VIEWS and inner.target in VIEWS and _viewable(inner.args[0], given[1]):
        node.args = (inner.args[0], *args[1:])
        return _if_same(inner.args[0], node)
    return None


def _beside(
    number: float, pair: list[Any], node: fx.Node, filled: dict[fx.Node, float]
) -> fx.Node | None:
    """Of two arguments the one beside this number."""
    for one, other in (pair, pair[::-1]):
        if _of(one, filled) == number and (found := _if_same(other, node)) is not None:
            return found
    return None


def _what_was_added(whole: Any, part: Any, node: fx.Node) -> fx.Node | None:
    """`(a + b) - a` is b, without the rounding, for an input a such as a weight.

    Elsewhere the rounding may be meant, as in the functions that noise is made of.
    """
    if not isinstance(part, fx.Node) or part.op != "placeholder":
        return None
    if isinstance(whole, fx.Node) and whole.target is aten.add.Tensor and not whole.kwargs:
        first, second = whole.args
        for one, other in ((first, second), (second, first)):
            if one is part:
                return _if_same(other, node)
    return None


def _if_same(found: Any, node: fx.Node) -> fx.Node | None:
    return found if isinstance(found, fx.Node) and same_layout(found, node) else None


def same_layout(one: Any, other: fx.Node) -> bool:
    """Whether two nodes are tensors of one shape, type and memory layout."""
    a, b = (n.meta.get("val") if isinstance(n, fx.Node) else None for n in (one, other))
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return False
    return a.shape == b.shape and a.dtype == b.dtype and a.stride() == b.stride()


def _viewable(node: Any, size: Any) -> bool:
    value = node.meta.get("val")
    try:
        return isinstance(value.view(size), Tensor)
    except (RuntimeError, TypeError):
        return False


def _gradients_at_once(graph: fx.Graph) -> None:
    """What a convolution carries back and its outer product, by one operation."""
    carried: dict[Any, fx.Node] = {}
    place = {node: i for i, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        if node.target is not aten.convolution_backward.default:
            continue
        signal, x, weight, *rest, which = node.args
        key = (signal, repr(rest), _shape(x), _shape(weight))
        if list(which) == [True, False, False]:
            carried.setdefault(key, node)
        elif list(which) == [False, True, False] and key in carried:
            first = carried[key]
            if place[x] < place[first]:
                first.args = (signal, x, first.args[2], *rest, [True, True, False])
                node.replace_all_uses_with(first)
                graph.erase_node(node)


def _shape(node: Any) -> Any:
    return tuple(node.meta["val"].shape), node.meta["val"].stride()
