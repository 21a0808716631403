"""A straight-line program as machine code, by PyTorch's compiler."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx

from metaplastic.support.reasons import in_short

LONGEST = 1500  # operations of a program; machine code of more takes minutes
WHOLE = 5  # so many times as long takes one on bits of whole numbers, which noise is made of
Run = Callable[..., tuple[Any, ...]]


def machine_code(run: Run, example: Sequence[Any]) -> Run:
    """The program compiled for inputs like `example`.

    The program itself, with a warning, where that fails, or where it is longer than `LONGEST`.
    """
    program = _program(run)
    if length(run) > LONGEST:
        warnings.warn(
            "No machine code is made of this step, whose program has so many operations that it "
            "would take minutes; it runs as a straight-line program, slower but the same.",
            stacklevel=2,
        )
        return run
    # On the processor calls of PyTorch come from the program; or from Python, where that fails.
    here = all(tensor.device.type == "cpu" for tensor in example)
    ways: list[dict[str, Any] | None] = [{"cpp_wrapper": True}, None] if here else [None]
    for options in ways:
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # compilers warn of what they do themselves
                made: Run = torch._inductor.compile(program, list(example), options=options)
                made(*example)
        except Exception as error:  # a missing compiler raises errors of many types
            reason = error
        else:
            return made
    warnings.warn(
        f"No machine code could be made ({type(reason).__name__}: {in_short(reason)}); the step "
        "runs as a straight-line program, slower but the same.",
        stacklevel=2,
    )
    return run


def length(run: Run) -> int:
    """How many operations a program has, each as long as it takes to compile."""
    called = [
        node for node in _program(run).graph.nodes
        if node.op == "call_function" and node.target is not operator.getitem
    ]  # fmt: skip
    return sum(WHOLE if "bitwise" in str(node.target) else 1 for node in called)


def _program(run: Run) -> fx.GraphModule:
    program = getattr(run, "__self__", None)
    if not isinstance(program, fx.GraphModule):
        raise TypeError("machine_code needs a program that traced.cut made.")
    return program
