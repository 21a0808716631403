"""A graph cut in two: what can be run before some of its inputs are there, and the rest."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from metaplastic.traced import products

Run = Callable[..., tuple[Any, ...]]


@dataclass
class Halves:
    """Two programs, the second of which goes on with what the first kept.

    `first(*early)` returns the early outputs and, behind them, what is kept. `second(*kept, *late)`
    returns the other outputs. `early` and `late` are the inputs, by number.
    """

    first: Run
    second: Run
    early: list[int]
    late: list[int]
    outputs: int  # of the first
    other: Callable[[Sequence[fx.Node]], Run]  # a second program with some of its outputs

    def begin(self, early: Sequence[Tensor]) -> tuple[list[Any], list[Any]]:
        """The early outputs, and what is kept for the second half."""
        found = self.first(*early)
        return list(found[: self.outputs]), list(found[self.outputs :])

    def end(self, kept: Sequence[Any], late: Sequence[Tensor]) -> tuple[Any, ...]:
        """The late outputs."""
        return self.second(*kept, *late)


def cut(
    graph: fx.Graph,
    outputs: Sequence[fx.Node],
    then: Sequence[fx.Node],
    early: Sequence[fx.Node] = (),
) -> Halves:
    """Cut a graph: `outputs` are those of the first half, `then` those of the second.

    The first half has what its outputs need and nothing else; so it may need no input that comes
    later. It has `early` as well, for the second half alone.
    """
    places = [node for node in graph.nodes if node.op == "placeholder"]
    number = {node: i for i, node in enumerate(places)}
    before = needed([*outputs, *early])
    for node in graph.nodes:  # parts of a result that is there
        if node.target is operator.getitem and node.args[0] in before:
            before.add(node)
    after = needed(then) - before
    kept = [
        node
        for node in graph.nodes
        if node in before and node.op != "placeholder" and any(u in after for u in node.users)
    ]
    kept += [node for node in then if node in before and node.op != "placeholder"]
    kept = list(dict.fromkeys(kept))
    first_inputs = [node for node in places if node in before]
    uses = {arg for node in after for arg in node.all_input_nodes} | set(then) | after
    late = [node for node in places if node in uses]
    order = list(graph.nodes)
    first = program([n for n in order if n in before], first_inputs, [*outputs, *kept])

    def other(ends: Sequence[fx.Node]) -> Run:
        own = needed(ends) & after
        return program([n for n in order if n in own], [*kept, *late], list(ends))

    return Halves(
        first, other(then), [number[n] for n in first_inputs], [number[n] for n in late],
        len(outputs), other,
    )  # fmt: skip


def program(
    body: Collection[fx.Node], inputs: Sequence[fx.Node], outputs: Sequence[Any],
    written: Mapping[fx.Node, fx.Node] | None = None,
) -> Run:  # fmt: skip
    """Nodes of a graph, in order, as a function of `inputs` that returns `outputs`.

    Args:
        written: input -> the node whose value it is given at the end.
    """
    made = fx.Graph()
    new: dict[fx.Node, fx.Node] = {}
    for i, node in enumerate(inputs):
        new[node] = made.placeholder(f"input_{i}")
        new[node].meta = dict(node.meta)
    for node in body:
        if node not in new and node.op != "placeholder":
            new[node] = made.node_copy(node, lambda n: new[n])
    for target, node in (written or {}).items():
        made.call_function(torch.ops.aten.copy_.default, (new[target], new[node]))
    made.output(tuple(new[node] if isinstance(node, fx.Node) else node for node in outputs))
    products.use(made)
    found: Run = fx.GraphModule(nn.Module(), made).forward
    return found


def needed(outputs: Sequence[fx.Node]) -> set[fx.Node]:
    """The nodes that some outputs are computed from, themselves among them."""
    found: set[fx.Node] = set()
    waiting = list(outputs)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found
