"""A straight-line program as machine code, by PyTorch's compiler."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from metaplastic.support.reasons import in_short
from metaplastic.traced.prepared import prepared

LONGEST = 1500  # operations of a program; machine code of more takes minutes
WHOLE = 5  # so many times as long takes one on bits of whole numbers, which noise is made of
Run = Callable[..., tuple[Any, ...]]


def machine_code(run: Run, example: Sequence[Any]) -> Run:
    """The program compiled for inputs like `example`.

    The program itself, with a warning, where that fails, or where it is longer than `LONGEST`.
    """
    program = prepared(program_of(run))
    if length(run) > LONGEST:
        warnings.warn(
            "No machine code is made of this step, whose program has so many operations that it "
            "would take minutes; it runs as a straight-line program, slower but the same.",
            stacklevel=2,
        )
        return run
    for options in options_to_try(example):
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # compilers warn of what they do themselves
                made = _compiled(program, example, options)
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


def options_to_try(tensors: Sequence[Tensor]) -> list[dict[str, Any]]:
    """Options of PyTorch's compiler for a program on these tensors, each to try where one fails.

    On the processor calls of PyTorch come from the program, not from Python. All its loops are one
    file for the C++ compiler, which else starts for each, and its calls are another, which is not
    optimized.
    """
    plain = compiled_soon()
    if any(tensor.device.type != "cpu" for tensor in tensors):
        return [plain]
    return [{**plain, **_known("cpp_wrapper", "cpp_wrapper_build_separate")}, plain]


def compiled_soon() -> dict[str, Any]:
    """Options by which nothing is compiled that is of no use, each of which takes seconds.

    Neither are headers compiled first, nor two programs that try out what the processor says it
    can do. A C++ compiler that cannot do as much fails at the program itself.
    """
    import torch._inductor.config as known

    tried = {"cpp.vec_isa_ok": True} if getattr(known.cpp, "vec_isa_ok", 0) is None else {}
    return {**dict.fromkeys(_known("cpp_cache_precompile_headers"), False), **tried}


def _known(*names: str) -> dict[str, Any]:
    """These options, on, but for those that this version of PyTorch lacks."""
    import torch._inductor.config as known

    return {name: True for name in names if hasattr(known, name)}


def _compiled(program: fx.GraphModule, example: Sequence[Tensor], options: dict[str, Any]) -> Run:
    """The program as machine code, which PyTorch keeps on disk for the next process.

    It does so only where shapes have an environment; all are fixed in this one. PyTorch
    2.6 asks for a context of metrics as well.
    """
    from torch._dynamo.utils import get_metrics_context
    from torch._guards import TracingContext, tracing
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    mode = FakeTensorMode(shape_env=ShapeEnv())
    with tracing(TracingContext(mode)), get_metrics_context():
        shapes: list[Any] = [mode.from_tensor(tensor, static_shapes=True) for tensor in example]
        made: Run = torch._inductor.compile(program, shapes, options=options)
    return made


def length(run: Run) -> int:
    """How many operations a program has, each as long as it takes to compile."""
    called = [
        node for node in program_of(run).graph.nodes
        if node.op == "call_function" and node.target is not operator.getitem
    ]  # fmt: skip
    return sum(WHOLE if "bitwise" in str(node.target) else 1 for node in called)


def program_of(run: Run) -> fx.GraphModule:
    """The program whose `forward` is `run`; `TypeError` where it is of no program."""
    program = getattr(run, "__self__", None)
    if not isinstance(program, fx.GraphModule):
        raise TypeError("machine_code needs a program that traced.cut made.")
    return program
