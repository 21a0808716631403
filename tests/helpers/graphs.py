"""Graphs of functions of tensors, as `traced` makes them, to be run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, fx

from metaplastic.traced.cut import program
from metaplastic.traced.trace import traced


def graph_of(function: Callable[..., Any], given: Sequence[Tensor]) -> fx.Graph:
    """The graph of a function of these tensors, which returns a list."""
    return traced(lambda flat: function(*flat), given)[0]


def run(graph: fx.Graph, given: Sequence[Tensor]) -> tuple[Any, ...]:
    """What the graph computes."""
    places = [node for node in graph.nodes if node.op == "placeholder"]
    (ends,) = next(node for node in graph.nodes if node.op == "output").args
    return program(list(graph.nodes), places, list(ends))(*given)
