"""A graph without the axis of tasks, where there is one task: the same numbers, fewer views.

Rules are written for many tasks at once. For one, each weight gets an axis of one and loses it at
the end, between which entries are computed one by one; without it, what is computed of an input
lies as the input does, so that a loop can write it there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten
ONE_BY_ONE = {
    aten.add.Tensor, aten.sub.Tensor, aten.rsub.Scalar, aten.mul.Tensor, aten.div.Tensor,
    aten.pow.Tensor_Scalar, aten.sqrt.default, aten.lerp.Scalar, aten.neg.default, aten.abs.default,
    aten.clamp.default, aten.sign.default, aten.tanh.default, aten.exp.default, aten.relu.default,
    aten.reciprocal.default, aten.maximum.default, aten.minimum.default,
}  # fmt: skip


def without_axis_of_one(graph: fx.Graph) -> None:
    """Compute without their first axis, in place, nodes that got one of size one."""
    less: dict[fx.Node, fx.Node] = {}
    for node in list(graph.nodes):
        if node.target is aten.unsqueeze.default and node.args[1] == 0:
            less[node] = node.args[0]
        elif node.target is aten.select.int and node.args[0] in less:
            if node.args[1:] == (0, 0):
                node.replace_all_uses_with(less[node.args[0]])
        elif node.target in ONE_BY_ONE and any(arg in less for arg in node.all_input_nodes):
            smaller = _without(graph, node, less)
            if smaller is not None:
                less[node] = smaller
    for node, smaller in less.items():
        if node.target is not aten.unsqueeze.default and any(u not in less for u in node.users):
            with graph.inserting_after(smaller):
                again = graph.call_function(aten.unsqueeze.default, (smaller, 0))
            again.meta = dict(node.meta)
            node.replace_all_uses_with(again, delete_user_cb=lambda user: user not in less)
    graph.eliminate_dead_code()


def _without(graph: fx.Graph, node: fx.Node, less: dict[fx.Node, fx.Node]) -> fx.Node | None:
    """The node without its first axis; None if that is no axis of one."""
    value = node.meta.get("val")
    inputs = [arg.meta.get("val") for arg in node.all_input_nodes]
    if not isinstance(value, Tensor) or not value.dim() or value.shape[0] != 1:
        return None
    if not all(isinstance(one, Tensor) for one in inputs):
        return None

    def smaller(arg: fx.Node) -> fx.Node:
        if arg in less or arg.meta["val"].dim() < value.dim():
            return less.get(arg, arg)
        return _call(graph, aten.select.int, (arg, 0, 0), {}, arg.meta["val"][0])

    with graph.inserting_before(node):
        args: Any = fx.map_arg(node.args, smaller)
        return _call(graph, node.target, args, dict(node.kwargs), value[0])


def _call(graph: fx.Graph, target: Any, args: Any, kwargs: Any, value: Tensor) -> fx.Node:
    made = graph.call_function(target, args, kwargs)
    made.meta["val"] = value
    return made
