"""The inner step through `torch.compile`, trusted only after its meta-gradient has been compared.

Compilation is an optimization, so it may never change a result in silence or stop a run: on a
machine without a compiler, or where a compiled meta-gradient differs, the step runs as written.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

Function = Callable[..., dict[str, Tensor]]


def compiled_or_eager(step: Function, wanted: bool) -> Function:
    """`step`, or its compiled form where it is wanted and works here."""
    if not wanted:
        return step
    return _checked(step.__func__, step.__self__)  # type: ignore[attr-defined, no-any-return]


@lru_cache(maxsize=64)
def _checked(function: Callable[..., Any], owner: Any) -> Function:
    eager = function.__get__(owner)
    compiled = torch.compile(eager, fullgraph=True, dynamic=False, recompile_limit=64)
    verdicts: dict[bool, bool] = {}

    def step(*arguments: Any) -> dict[str, Tensor]:
        with_graph = torch.is_grad_enabled()
        if with_graph not in verdicts:
            verdicts[with_graph] = _agrees(eager, compiled, arguments)
        return compiled(*arguments) if verdicts[with_graph] else eager(*arguments)  # type: ignore[no-any-return]

    return step


def _agrees(eager: Function, compiled: Function, arguments: tuple[Any, ...]) -> bool:
    try:
        expected, found = (_probe(step, arguments) for step in (eager, compiled))
    except Exception as reason:  # a missing compiler shows in many types
        first = str(reason).strip().splitlines()[0][:200] if str(reason).strip() else ""
        warnings.warn(
            f"The inner step could not be compiled ({type(reason).__name__}: {first}); "
            "it runs uncompiled, slower but the same.",
            stacklevel=4,
        )
        return False
    for one, other in zip(expected, found, strict=True):
        scale = one.abs().max().clamp_min(1e-12)
        tolerance = 1e-9 if one.dtype == torch.float64 else 1e-4
        if not ((one - other).abs().max() <= tolerance * scale):
            warnings.warn(
                "The compiled inner step gives another meta-gradient than the uncompiled one "
                f"(relative difference {float((one - other).abs().max() / scale):.1e}); it runs uncompiled.",
                stacklevel=4,
            )
            return False
    return True


def _probe(step: Function, arguments: tuple[Any, ...]) -> list[Tensor]:
    """Values after one step, and the gradient of a fixed function of them in all that is learned."""
    result = list(step(*arguments).values())
    leaves = [t for t in _tensors(arguments) if t.requires_grad]
    if not torch.is_grad_enabled() or not leaves:
        return result
    total = torch.stack([weight.square().mean() for weight in result]).sum()
    found = torch.autograd.grad(total, leaves, allow_unused=True, retain_graph=True)
    return [weight.detach() for weight in result] + [g for g in found if g is not None]


def _tensors(arguments: Iterable[Any]) -> Iterator[Tensor]:
    for argument in arguments:
        if isinstance(argument, Tensor):
            yield argument
        elif isinstance(argument, dict):
            yield from _tensors(argument.values())
