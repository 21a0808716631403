"""Short lifetimes as one program: first weights, inner steps, query loss and meta-gradient.

With few steps and small networks the time is that of calling operations one by one. The whole
meta-gradient, traced once and simplified, is a straight line of them; where it is not too long,
PyTorch's compiler makes machine code of it. Longer lifetimes are compiled a few steps at a time
(`steps`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from metaplastic.inner.compiled.agreement import agree
from metaplastic.inner.meta_loss import MetaLoss, loss_of_lifetimes
from metaplastic.support.python_state import modules_of, python_state, unchanged
from metaplastic.support.reasons import in_short
from metaplastic.traced.cut import program
from metaplastic.traced.machine_code import LONGEST, length, machine_code
from metaplastic.traced.trace import traced

if TYPE_CHECKING:
    from metaplastic.inner.learner import OnlineLearner

STEPS = 16  # of a lifetime, at most
Given = tuple[Tensor, ...]


class _Program(torch.autograd.Function):
    """The outputs of a program that computes the gradient of the first of them along with it."""

    @staticmethod
    def forward(ctx: Any, run: OneProgram, *inputs: Tensor) -> tuple[Tensor, ...]:
        found = run(inputs)
        outputs, ctx.slopes = found[: run.outputs], found[run.outputs :]
        ctx.wanted, ctx.number = run.wanted, len(inputs)
        ctx.mark_non_differentiable(*outputs[1:])
        return tuple(outputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        found: list[Tensor | None] = [None] * ctx.number
        for i, own in zip(ctx.wanted, ctx.slopes, strict=True):
            found[i] = slope * own
        return None, *found


class OneProgram:
    """The program for lifetimes of one form.

    Args:
        learner: only while it is made; the parameters are read at every call.
        given: as of `meta_loss.loss_of_lifetimes`.

    Raises:
        Exception: whatever stops a trace.
    """

    def __init__(self, learner: OnlineLearner, given: Given, learned: Sequence[Tensor]) -> None:
        self.wanted: list[int] = []

        def joint(flat: list[Tensor]) -> list[Tensor]:
            leaves = [
                tensor.requires_grad_() if own.requires_grad else tensor
                for tensor, own in zip(flat, given, strict=True)
            ]
            with torch.enable_grad():
                result = loss_of_lifetimes(learner, *leaves)
            every = [*leaves, *learned]
            wanted = [i for i, tensor in enumerate(every) if tensor.requires_grad]
            slopes = torch.autograd.grad(result.loss, [every[i] for i in wanted], allow_unused=True)
            pairs = [(i, s) for i, s in zip(wanted, slopes, strict=True) if s is not None]
            self.wanted = [i for i, _ in pairs]
            known = [] if result.accuracy is None else [result.accuracy]
            outputs = [result.loss.detach(), result.per_task, result.prediction, *known]
            self.outputs = len(outputs)
            return [*outputs, *(slope for _, slope in pairs)]

        inputs = [tensor.detach() for tensor in given]
        graph, self.constants = traced(joint, inputs, functional=False)
        (ends,) = next(node for node in graph.nodes if node.op == "output").args
        places = [node for node in graph.nodes if node.op == "placeholder"]
        self.run = program(list(graph.nodes), places, list(ends))
        if length(self.run) <= LONGEST:
            self.run = machine_code(self.run, [*inputs, *self.constants])
        self.inputs = len(given)

    def __call__(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Outputs and gradients; the parameters are read where they are."""
        found: tuple[Tensor, ...] = self.run(*inputs[: self.inputs], *self.constants)
        return found


def in_one_program(learner: OnlineLearner, given: Given) -> MetaLoss | None:
    """The meta-loss by one program, made at the first lifetimes of a form.

    None where the learner does not compile, in evaluation, and where a program fails or its
    meta-gradient differs from the uncompiled one.
    """
    steps = given[0].shape[1] * learner.passes
    how = learner.unroll
    if not (how.compile and torch.is_grad_enabled() and learner.training):
        return None
    if steps > STEPS or how.truncate or how.checkpoint_every:
        _say(learner, f"lifetimes of more than {STEPS} steps, or kept in part, are not one program")
        return None
    parts = modules_of(learner)
    every = (p for part in parts for p in part._parameters.values() if p is not None)
    parameters = list(dict.fromkeys(every))  # each once, as `parameters()` has them
    learned = [p for p in parameters if p.requires_grad]
    form = (
        [(t.shape, t.dtype, t.stride(), t.requires_grad) for t in given],
        [(p.data_ptr(), p.dtype) for p in parameters], len(learned), learner.initialization, how,
    )  # fmt: skip
    state, kept = python_state(parts, leave=("unroll",)), _KEPT.get(learner)
    if kept is None or kept.form != form or not unchanged(kept.state, state):
        kept = _KEPT[learner] = Kept(form, state, _made(learner, given, learned))
    made = kept.program
    if made is None:
        return None
    apply: Callable[..., tuple[Tensor, ...]] = _Program.apply
    loss, per_task, prediction, *accuracy = apply(made, *given, *learned)
    return MetaLoss(loss, per_task, accuracy[0] if accuracy else None, prediction)


@dataclass
class Kept:
    """The program of a learner, and what it holds for; None if none could be made for that."""

    form: tuple[Any, ...]
    state: list[object]
    program: OneProgram | None


_KEPT: WeakKeyDictionary[nn.Module, Kept] = WeakKeyDictionary()


def _made(learner: OnlineLearner, given: Given, learned: Sequence[Tensor]) -> OneProgram | None:
    """A program that agrees with the uncompiled lifetimes, or None."""
    how, leaves = learner.unroll, [*given, *learned]
    learner.unroll = replace(how, compile=False)
    try:
        with torch.random.fork_rng(devices=[]):
            made = OneProgram(learner, given, learned)
            expected = loss_of_lifetimes(learner, *given)
    except Exception as reason:
        _say(learner, in_short(reason))
        return None
    finally:
        learner.unroll = how
    found = made([tensor.detach() for tensor in leaves])
    wanted = [leaves[i] for i in made.wanted]
    slopes = torch.autograd.grad(expected.loss, wanted, retain_graph=True)
    agrees = agree(
        "A lifetime as one program", (expected.loss, *slopes), (found[0], *found[made.outputs :])
    )
    return made if agrees else None


def _say(learner: OnlineLearner, reason: str) -> None:
    """Say once why nothing is compiled, where steps are not compiled a few at a time instead."""
    if learner.executor.compiles_steps or learner in _TOLD:
        return
    _TOLD[learner] = True
    warnings.warn(
        f"This learner's lifetimes are not compiled: {reason}. They run uncompiled, slower but the "
        "same; leave compile=True out if that is all right.",
        stacklevel=5,
    )


_TOLD: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()
