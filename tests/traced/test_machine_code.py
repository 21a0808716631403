"""Machine code of a program is kept on disk, with the options that a device has."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._dynamo.utils import counters

from metaplastic.traced.cut import program
from metaplastic.traced.machine_code import machine_code, options_to_try
from metaplastic.traced.trace import traced


def test_a_program_is_compiled_once_for_all_processes() -> None:
    def function(flat: list[Tensor]) -> list[Tensor]:
        x, y = flat
        return [(x @ y).tanh() * 3 - y]

    example = [torch.randn(3, 3, dtype=torch.float64) for _ in range(2)]
    (expected,) = function(example)
    hits = []
    for _ in range(2):
        graph, _ = traced(function, example)
        places = [node for node in graph.nodes if node.op == "placeholder"]
        body = [node for node in graph.nodes if node.op == "call_function"]
        (returned,) = next(node for node in graph.nodes if node.op == "output").args
        run = machine_code(program(body, places, list(returned)), example)
        torch.testing.assert_close(run(*example)[0], expected)
        hits.append(counters["inductor"]["fxgraph_cache_hit"])
    assert hits[1] == hits[0] + 1


def test_a_program_on_another_device_has_the_options_of_the_compiler() -> None:
    (elsewhere,) = options_to_try([torch.empty(2, device="meta")])
    assert "cpp_wrapper" not in elsewhere
    here, otherwise = options_to_try([torch.empty(2)])
    assert here == {"cpp_wrapper": True, **here}
    assert otherwise == elsewhere
