"""Bounds of a graph hold for whatever lies within those of its inputs, and are told if they can."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx

from metaplastic.traced.bounds import MOST, Bounds, bounds_of
from tests.helpers.graphs import graph_of

Function = Callable[[Tensor, Tensor], Tensor]
HOLD: list[tuple[Function, Bounds, Bounds]] = [
    (lambda a, b: a + 0.5 * b - 2 * (3 - a), (-1, 2), (-4, 4)),
    (lambda a, b: torch.lerp(a, b, 0.3).abs() / (b.square() + 1), (-5, 2), (-3, 7)),
    (lambda a, b: (a.square() + 1e-3).sqrt() * b, (-2, 1), (-1, 5)),
    (lambda a, b: b / (a - 5), (-2, 1), (-1, 5)),
    (lambda a, b: (a + 1) ** -0.7 + 0.9 ** (a + b), (0, 50), (1, 3)),
    (lambda a, b: (a * b).clamp(-0.5, 0.2) + (-a).clamp(max=1) * b.clamp(min=1), (-2, 1), (0, 3)),
    (lambda a, b: a * a - b * b, (-2, 1), (-3, 0.5)),
    (lambda a, b: (a.t() @ b).sqrt(), (0, 2), (1, 3)),
]  # fmt: skip


def told(function: Function, *known: Bounds) -> Bounds | None:
    graph = graph_of(lambda a, b: [function(a, b)], [torch.ones(1, 7), torch.ones(1, 7)])
    nodes = list(graph.nodes)
    places = [node for node in nodes if node.op == "placeholder"]
    (end,) = next(node for node in nodes if node.op == "output").args[0]
    assert isinstance(end, fx.Node)
    return bounds_of(nodes, dict(zip(places, known, strict=True))).get(end)


@pytest.mark.parametrize(("function", "a", "b"), HOLD)
def test_nothing_lies_outside(function: Function, a: Bounds, b: Bounds) -> None:
    bounds = told(function, a, b)
    assert bounds is not None
    torch.manual_seed(0)
    for _ in range(200):
        x, y = (torch.rand(1, 7).mul(end[1] - end[0]).add(end[0]) for end in (a, b))
        for one, other in ((x, y), torch.tensor([[*a, *a], [*b, *b[::-1]]]).float().split(1)):
            found = function(one, other)
            assert found.min() >= bounds[0] - 1e-5
            assert found.max() <= bounds[1] + 1e-5


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: a / b,  # by what may be 0
        lambda a, b: b.sqrt(),  # of what may be below it
        lambda a, b: b**-1.0,
        lambda a, b: a.sin(),  # which nobody wrote down
        lambda a, b: torch.lerp(a, b, 1.5),
    ],
)
def test_what_may_not_be_finite_has_no_bounds(function: Function) -> None:
    assert told(function, (0, 1), (-1, 1)) is None


def test_what_may_come_near_the_largest_number_has_none() -> None:
    assert told(lambda a, b: a * b, (0, 1e20), (0, 1e10)) == (0, 1e30)
    assert told(lambda a, b: a * b, (0, 1e20), (0, MOST / 1e20)) is None


def test_only_what_is_known_is_built_on() -> None:
    graph = graph_of(lambda a, b: [a + 1, b + 1], [torch.ones(3), torch.ones(3)])
    first, second, one, _, _ = graph.nodes
    found = bounds_of(graph.nodes, {first: (0, 1)})
    assert found == {first: (0, 1), one: (1, 2)}
    assert second not in found
