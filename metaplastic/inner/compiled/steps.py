"""Inner steps through `torch.compile`, used only after their meta-gradient has been compared.

Compilation is an optimization, so it must not change a result silently or stop a run: on a machine
without a compiler, or where a compiled meta-gradient differs, steps run uncompiled. There is one
comparison for each learner, on the first steps of its first lifetime. Code compiled later for other
shapes (a larger meta-batch, a shorter first segment) is not compared again.

Weights are large and a step does little arithmetic with each, so the time is that of memory access.
A few steps are compiled together, and only their initial weights are kept for the backward pass:
the rest is recomputed, a row of synapses at a time, in the nearest cache.
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

from metaplastic.inner.compiled.agreement import agree
from metaplastic.inner.unroll import Given, Unroll, segment_length
from metaplastic.stacked.stack import FastWeights
from metaplastic.support.reasons import in_short
from metaplastic.traced import products
from metaplastic.traced.machine_code import compiled_soon

Function = Callable[..., dict[str, Tensor]]


def steps_at_once(sites: int) -> int:
    """The number of steps to compile together: five, fewer for deep networks.

    Five was fastest of 1 to 25 for 8 lifetimes of a 256 x 256 site; the data of five steps still
    fit the caches. Deep networks take long to compile.
    """
    return max(1, min(5, 10 // sites))


def compiled_steps(
    run: Function,
    owner: nn.Module,
    fixed: tuple[Any, ...],
    fast: FastWeights,
    lifetimes: Given,
    how: Unroll,
    passes: int,
    at_once: int,
) -> tuple[Function, FastWeights]:
    """`run`, compiled if the compiler agrees, and the initial weights in its memory layout.

    The compiled and the uncompiled function are compared on the first steps, before the lifetime,
    which may run under checkpointing, where gradients cannot be computed.
    """
    # One memory layout for all steps, the first included, so that one compilation serves.
    fast = {name: weight.contiguous() for name, weight in fast.items()}
    steps = lifetimes["x"].shape[1]
    length = segment_length(steps * passes, how, at_once)
    first = torch.arange(length, device=lifetimes["x"].device) % steps
    given = {
        name: tensor[:, first].movedim(1, 0).contiguous() for name, tensor in lifetimes.items()
    }
    return _compiled_or_eager(run, owner, (*fixed, fast, given)), fast


def _compiled_or_eager(run: Function, owner: nn.Module, arguments: tuple[Any, ...]) -> Function:
    found = _CHOSEN.setdefault(owner, {})
    with_graph = torch.is_grad_enabled()
    if with_graph not in found:
        found[with_graph] = _compiled_if_it_agrees(run, (owner, *arguments), owner)
    return partial(found[with_graph], owner)


_CHOSEN: WeakKeyDictionary[nn.Module, dict[bool, Function]] = WeakKeyDictionary()
"""For each rule, with a graph (True) and without: the compiled function or the eager one."""


def _compile(step: Function) -> Function:
    from torch._functorch import config as autograd_of_compiled  # with much of the compiler

    roomy: dict[str, Any] = {"fullgraph": True, "dynamic": False}
    if "recompile_limit" in inspect.signature(torch.compile).parameters:
        roomy["recompile_limit"] = 64  # all learners of a process share one cache of this code
    compiled: Function = torch.compile(
        step, options={**compiled_soon(), **products.options()} or None, **roomy
    )

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
    except Exception as reason:  # a missing compiler raises errors of many types
        warnings.warn(
            f"The inner step could not be compiled ({type(reason).__name__}: {in_short(reason)}); "
            "it runs uncompiled, slower but the same.",
            stacklevel=5,
        )
        return eager
    return compiled if agree("The compiled inner step", expected, found) else eager


def _probe(step: Function, arguments: tuple[Any, ...], leaves: list[Tensor]) -> list[Tensor]:
    """Values after one step, and the gradient of a function of them at all `leaves`."""
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
