"""Inner steps through `torch.compile`, trusted only after their meta-gradient has been compared.

Compilation is an optimization, so it may never change a result in silence or stop a run: on a
machine without a compiler, or where a compiled meta-gradient differs, steps run as written. There
is one comparison for each learner, on the first steps of its first lifetime. What is compiled later
for other shapes (a larger meta-batch, a shorter first segment) is trusted on the strength of it.

Weights are large and a step does little with each, so time goes where memory goes. A few steps are
compiled together, and of these only the weights they start from are kept for the backward pass:
the rest is computed again, a row of synapses at a time, while it is in the nearest cache.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial, wraps
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch._functorch import config as autograd_of_compiled

from metaplastic.inner.unroll import Given, Unroll, usual_piece
from metaplastic.stacked.stack import FastWeights

Function = Callable[..., dict[str, Tensor]]


def steps_at_once(sites: int) -> int:
    """How many steps to compile together: five, but for deep networks, which take long to compile.

    Five was quickest of 1 to 25 for 8 lifetimes of a 256 x 256 site; what five steps touch still
    fits the caches between them.
    """
    return max(1, min(5, 10 // sites))


def ready(
    live: Function,
    owner: nn.Module,
    fixed: tuple[Any, ...],
    fast: FastWeights,
    life: Given,
    how: Unroll,
    passes: int,
    at_once: int,
) -> tuple[Function, FastWeights]:
    """`live` as it is to be run in this lifetime, and the weights at birth as it wants them.

    The two ways are compared on the first steps. That is done here and not during the lifetime,
    which may run under checkpointing, where no gradient may be asked for.
    """
    # One memory layout for all steps, the first included, so that one compilation serves.
    fast = {name: weight.contiguous() for name, weight in fast.items()}
    steps = life["x"].shape[1]
    first = torch.arange(usual_piece(steps * passes, how, at_once), device=life["x"].device) % steps
    given = {name: tensor[:, first].movedim(1, 0).contiguous() for name, tensor in life.items()}
    return _compiled_or_eager(live, owner, (*fixed, fast, given)), fast


def _compiled_or_eager(live: Function, owner: nn.Module, arguments: tuple[Any, ...]) -> Function:
    found = _VERDICTS.setdefault(owner, {})
    with_graph = torch.is_grad_enabled()
    if with_graph not in found:
        found[with_graph] = _compiled_if_it_agrees(live, (owner, *arguments), owner)
    return partial(found[with_graph], owner)


_VERDICTS: WeakKeyDictionary[nn.Module, dict[bool, Function]] = WeakKeyDictionary()
"""For each rule, with a graph and without: how it lives, compiled or as written."""


def _compile(step: Function) -> Function:
    roomy: dict[str, Any] = {"fullgraph": True, "dynamic": False}
    if "recompile_limit" in inspect.signature(torch.compile).parameters:
        roomy["recompile_limit"] = 64  # all learners of a process share one cache of this code
    compiled: Function = torch.compile(step, **roomy)

    @wraps(step)
    def keeping_little(*arguments: Any) -> dict[str, Tensor]:
        with autograd_of_compiled.patch(activation_memory_budget=0.0):
            return compiled(*arguments)

    return keeping_little


def _compiled_if_it_agrees(
    eager: Function, arguments: tuple[Any, ...], owner: nn.Module
) -> Function:
    learned = [*_tensors(arguments), *owner.parameters()]
    leaves = [tensor for tensor in learned if tensor.requires_grad]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # compilers warn of what they do themselves
            compiled = _compile(eager)
            expected, found = (_probe(step, arguments, leaves) for step in (eager, compiled))
    except Exception as reason:  # a missing compiler shows in many types
        first = (str(reason).strip().splitlines() or [""])[0][:200]
        warnings.warn(
            f"The inner step could not be compiled ({type(reason).__name__}: {first}); "
            "it runs uncompiled, slower but the same.",
            stacklevel=5,
        )
        return eager
    for one, other in zip(expected, found, strict=True):
        scale = one.abs().max().clamp_min(1e-12)
        difference = float((one - other).abs().max() / scale)
        if not difference <= (1e-9 if one.dtype == torch.float64 else 1e-4):
            warnings.warn(
                "The compiled inner step gives another meta-gradient than the uncompiled one "
                f"(relative difference {difference:.1e}); it runs uncompiled.",
                stacklevel=5,
            )
            return eager
    return compiled


def _probe(step: Function, arguments: tuple[Any, ...], leaves: list[Tensor]) -> list[Tensor]:
    """Values after one step, and the gradient in all that is learned of a function of them."""
    result = list(step(*arguments).values())
    if not torch.is_grad_enabled() or not leaves:
        return result
    total = torch.stack([weight.square().mean() for weight in result]).sum()
    found = torch.autograd.grad(
        total, leaves, allow_unused=True, materialize_grads=True, retain_graph=True
    )
    return [weight.detach() for weight in result] + list(found)


def _tensors(arguments: Iterable[Any]) -> Iterator[Tensor]:
    for argument in arguments:
        if isinstance(argument, Tensor):
            yield argument
        elif isinstance(argument, dict):
            yield from _tensors(argument.values())
