"""A graph without its axis of one task computes the same, in less operations."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.helpers.graphs import graph_of, run

Function = Callable[[Tensor, Tensor, Tensor], list[Tensor]]


def several(weight: Tensor, trace: Tensor, rate: Tensor) -> list[Tensor]:
    many, before = weight[None], trace[None]
    now = torch.lerp(before, many.square(), 0.1)
    change = rate * many / (now.sqrt() + 1)
    return [now[0], (weight[None] + change)[0]]


def with_other_users(weight: Tensor, trace: Tensor, rate: Tensor) -> list[Tensor]:
    many = weight[None] * 2
    return [many[0] + trace, many.sum((0, 1)), many.expand(3, 4, 5), many]


def of_other_axes(weight: Tensor, trace: Tensor, rate: Tensor) -> list[Tensor]:
    both = torch.stack([weight, trace])
    return [
        both * weight[None],
        (weight[None] + rate.expand(1, 4, 1))[0],
        trace[None] * weight[:, None],
    ]


@pytest.mark.parametrize("function", [several, with_other_users, of_other_axes])
def test_the_same_numbers(function: Function) -> None:
    torch.manual_seed(0)
    given = [torch.rand(4, 5), torch.rand(4, 5), torch.rand(())]
    found = run(graph_of(function, given), given)
    for one, expected in zip(found, function(*given), strict=True):
        assert torch.equal(one, expected)


def test_no_view_is_left_where_all_is_computed_one_by_one() -> None:
    graph = graph_of(several, [torch.rand(4, 5), torch.rand(4, 5), torch.rand(())])
    targets = [str(node.target) for node in graph.nodes if node.op == "call_function"]
    assert not [target for target in targets if "squeeze" in target or "select" in target]
