"""Functions as straight-line programs: the same numbers, less work, and refused where they vary."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metaplastic.traced.cut import cut
from metaplastic.traced.simplify import aten
from metaplastic.traced.trace import CannotTraceError, traced


def twice(given: list[Tensor]) -> list[Tensor]:
    """A layer run as it is, and again with what its gradient needs, as an inner step is."""
    x, weight, back, teaching = given

    def emitted(probe: Tensor) -> Tensor:
        z = x @ weight.mT
        again = x.clone() @ weight.mT + probe
        hidden = torch.relu(again) + (torch.relu(again) - torch.relu(z)) @ back
        return (hidden * teaching).sum()

    signal = torch.func.grad(emitted)(torch.zeros(len(x), len(weight), dtype=x.dtype))
    return [torch.relu(x @ weight.mT), weight + 0.1 * signal.mT @ x]


def inputs(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    shapes = [(2, 3), (4, 3), (4, 4), (2, 4)]
    return [torch.randn(shape, generator=draw, dtype=dtype) for shape in shapes]


def called(graph: torch.fx.Graph, *targets: object) -> int:
    return sum(node.target in targets for node in graph.nodes)


def test_what_is_computed_twice_is_computed_once() -> None:
    given = inputs()
    graph, constants = traced(twice, given)
    assert not constants
    # x W, the signal through the feedback, and its outer product with x.
    assert called(graph, aten.mm.default) == 3
    assert called(graph, aten.clone.default, aten.zeros_like.default, aten.zeros.default) == 0


def test_a_program_and_its_halves_give_the_numbers_of_the_function() -> None:
    given = inputs()
    graph, _ = traced(twice, given)
    (ends,) = next(node for node in graph.nodes if node.op == "output").args
    halves = cut(graph, [ends[0]], [ends[1]])
    other = [tensor + 0.3 for tensor in inputs()]
    early, kept = halves.begin([other[i] for i in halves.early])
    assert 3 not in halves.early  # the teaching comes later
    assert 3 in halves.late
    late = halves.end(kept, [other[i] for i in halves.late])
    for found, wanted in zip([*early, *late], twice(other), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-14, atol=1e-14)


def test_parts_of_a_result_are_kept_and_not_the_tuple() -> None:
    def function(given: list[Tensor]) -> list[Tensor]:
        x, y = given
        out, mean, _ = torch.native_layer_norm(x, [3], None, None, 1e-5)
        return [out, mean * y]

    x, y = torch.randn(4, 3), torch.randn(4, 1)
    graph, _ = traced(function, [x, y])
    (ends,) = next(node for node in graph.nodes if node.op == "output").args
    halves = cut(graph, [ends[0]], [ends[1]])
    _, kept = halves.begin([x])
    assert all(isinstance(value, Tensor) for value in kept)
    torch.testing.assert_close(halves.end(kept, [y])[0], function([x, y])[1])


def test_a_parameter_found_elsewhere_is_read_each_time() -> None:
    rate = torch.nn.Parameter(torch.tensor(2.0))
    graph, constants = traced(lambda given: [given[0] * rate.detach()], [torch.ones(2)])
    assert len(constants) == 1
    rate.data.fill_(5.0)
    run = cut(graph, list(next(n for n in graph.nodes if n.op == "output").args[0]), [])
    assert run.first(torch.ones(2), constants[0])[0].tolist() == [5.0, 5.0]


def test_rounding_that_is_meant_is_kept() -> None:
    """`(x + big) - big` rounds x; only an input's own addition is taken back."""
    big = 2.0**23

    def rounded(given: list[Tensor]) -> list[Tensor]:
        (x,) = given
        large = x * 0 + big
        return [(x + large) - large]

    x = torch.tensor([1.3, 2.7])
    graph, _ = traced(rounded, [x])
    run = cut(graph, list(next(n for n in graph.nodes if n.op == "output").args[0]), [])
    assert run.first(x)[0].tolist() == [1.0, 3.0]


def test_two_gradients_of_a_convolution_are_one_operation() -> None:
    def function(given: list[Tensor]) -> list[Tensor]:
        x, weight, signal = given
        fixed = (None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1)
        carried = aten.convolution_backward(signal, x, weight, *fixed, [True, False, False])[0]
        outer = aten.convolution_backward(signal, x, weight * 2, *fixed, [False, True, False])[1]
        return [carried, outer]

    given = [torch.randn(2, 3, 5, 5), torch.randn(4, 3, 3, 3), torch.randn(2, 4, 5, 5)]
    graph, _ = traced(function, given)
    assert called(graph, aten.convolution_backward.default) == 1
    run = cut(graph, list(next(n for n in graph.nodes if n.op == "output").args[0]), [])
    for found, wanted in zip(run.first(*given), function(given), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def by_chance(given: list[Tensor]) -> list[Tensor]:
    return [torch.nn.functional.dropout(given[0], 0.5)]


def by_value(given: list[Tensor]) -> list[Tensor]:
    return [given[0] * 2 if given[0].sum() > 0 else given[0]]


@pytest.mark.parametrize(
    ("function", "words"), [(by_chance, "random numbers"), (by_value, "value of a tensor")]
)
def test_what_differs_from_run_to_run_is_refused(function: object, words: str) -> None:
    with pytest.raises(CannotTraceError, match=words):
        traced(function, [torch.ones(3)])  # type: ignore[arg-type]
