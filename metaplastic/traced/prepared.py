"""A program prepared for PyTorch's compiler, which does twice or apart what is better done once.

A number that a loop needs is computed in the loop, once for each vector of entries; where it is a
power of the step count, that is most of what the loop does. And an outer product of a few rows is a
call of a matrix product, apart from the loop that goes on with its entries.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from metaplastic.traced.simplify import MOVED

aten = torch.ops.aten
FEW = 4  # columns of a product that is cheaper in the loop that goes on with it


def prepared(program: fx.GraphModule) -> fx.GraphModule:
    """The program with numbers computed once, and outer products of a few rows in loops."""
    graph = fx.Graph()
    graph.output(graph.graph_copy(program.graph, {}))
    for node in list(graph.nodes):
        if _is_number(node) and any(_is_large(user) for user in node.users):
            _in_memory(graph, node)
        elif node.target is aten.mm.default and 0 < (columns := columns_of(node)) <= FEW:
            _in_loop(graph, node, columns)
    return fx.GraphModule(nn.Module(), graph)


def _in_memory(graph: fx.Graph, node: fx.Node) -> None:
    """Let the users of a node read it; what has strides of its own lies in memory."""
    value = node.meta["val"]
    with graph.inserting_after(node):
        once = graph.call_function(
            aten.as_strided.default, (node, list(value.shape), list(value.stride()))
        )
    once.meta = dict(node.meta)
    node.replace_all_uses_with(once, delete_user_cb=lambda user: user is not once)


def _is_number(node: fx.Node) -> bool:
    value = node.meta.get("val")
    computed = node.op == "call_function" and node.target not in MOVED
    return computed and isinstance(value, Tensor) and value.numel() == 1


def _is_large(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.numel() > 1


def columns_of(node: fx.Node) -> int:
    """Of the left one of two matrices; 0 where it is not known."""
    left = node.args[0]
    value = left.meta.get("val") if isinstance(left, fx.Node) else None
    return value.shape[1] if isinstance(value, Tensor) else 0


def _in_loop(graph: fx.Graph, node: fx.Node, columns: int) -> None:
    """A product of matrices as a sum of outer products."""
    left, right = node.args
    if columns == 1:
        node.target = aten.mul.Tensor
        return
    with graph.inserting_before(node):
        pairs = [
            (
                graph.call_function(aten.slice.Tensor, (left, 1, i, i + 1)),
                graph.call_function(aten.slice.Tensor, (right, 0, i, i + 1)),
            )
            for i in range(columns)
        ]
        total, *rest = (graph.call_function(aten.mul.Tensor, pair) for pair in pairs)
        for i, outer in enumerate(rest):
            if i == len(rest) - 1:
                node.target, node.args = aten.add.Tensor, (total, outer)
            else:
                total = graph.call_function(aten.add.Tensor, (total, outer))
