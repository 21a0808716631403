"""A plastic module's passes and steps, compiled once for each form of its inputs.

`torch.compile` watches the model: what it reads of Python (flags, attributes, globals) and the form
of its inputs. For each state of these it hands over the forward pass as a graph, and the whole
inner step through that graph is traced, simplified, and cut where the target comes in. That needs
no compiler of machine code, to which both halves may be handed. No number changes but by rounding.
"""

from __future__ import annotations

import types
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, fx, nn

from metaplastic.alignment.sleep import Sleep
from metaplastic.online.compiled.form import Form
from metaplastic.online.credit import Credit
from metaplastic.online.memory import Memory
from metaplastic.online.norms import Norms
from metaplastic.online.plan import Plan
from metaplastic.sites.names import bare
from metaplastic.sites.outputs import Output, pick
from metaplastic.support.python_state import modules_of, python_state, unchanged
from metaplastic.traced.trace import CannotTraceError

FORMS = 64  # of inputs, flags and attributes; beyond, a model runs uncompiled


class Compiled:
    """The compiled passes of one model, as long as its `Plan` holds."""

    def __init__(
        self, credit: Credit, memory: Memory, plan: Plan, model: nn.Module, norms: Norms,
        machine_code: bool,
    ) -> None:  # fmt: skip
        self.parts = (credit, memory, plan, model, norms, machine_code)
        self.form: Form | None = None
        self.model, self.output = bare(model), credit.output
        self.device = next(iter(plan.named.values())).device.type
        self.forms, self.rule = 0, credit.rule
        self.state: list[object] = []
        self.why = cannot(credit, memory)
        self.call = self._watched()

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Form]:
        """The model's output, and what to learn from it with.

        Raises:
            CannotTraceError: where it cannot be compiled; nothing has changed then.
        """
        if self.why:
            raise CannotTraceError(self.why)
        if torch.is_autocast_enabled(self.device):
            raise CannotTraceError("autocast is on")
        # Rates are inputs of a program.
        state = python_state(modules_of(self.rule), leave=("rate_scale",))
        if not unchanged(self.state, state):
            self.call, self.state = self._watched(), state
        self.form, model, how = None, self.model, self.output
        with torch.enable_grad():  # whatever the caller has, so that one form serves
            try:
                output, prediction = self.call(model, how, args, kwargs)
            except torch._dynamo.exc.FailOnRecompileLimitHit:
                if self.forms >= FORMS:
                    raise
                self.call = self._watched()
                output, prediction = self.call(model, how, args, kwargs)
        form: Form | None = self.form
        if form is None:
            raise CannotTraceError("its forward pass has no operation on tensors")
        if not form.ready and len(prediction):  # from an empty minibatch nothing is learned
            form.trace(prediction)
        return output, form

    def _watched(self) -> Any:
        # A copy of the code: whatever is compiled from one code shares its limit of forms.
        own = types.FunctionType(_both.__code__.replace(), _both.__globals__)
        return torch.compile(own, backend=self._backend, fullgraph=True, dynamic=False)

    def _backend(self, graph: fx.GraphModule, example: list[Any]) -> Any:
        form = Form(graph, *self.parts)
        self.forms += 1

        def run(*args: Any) -> list[Tensor]:
            self.form = form
            return form(*args)

        return run


CANNOT = (CannotTraceError, torch._dynamo.exc.TorchDynamoException)


def _both(
    model: nn.Module, how: Output, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, Tensor]:
    output = model(*args, **kwargs)
    return output, pick(output, how)


def cannot(credit: Credit, memory: Memory) -> str:
    """Why a step of this rule in this model cannot be compiled; "" if it can."""
    rule, network = credit.rule, memory.network
    alignment = rule.alignment.awake if isinstance(rule.alignment, Sleep) else rule.alignment
    if network.derived:
        return (
            f"the weight of site {next(iter(network.derived.values()))!r} is computed from others"
        )
    if alignment.scheduled:
        return "a coefficient of its alignment is a function of the step"
    if any(site.weight.dtype not in (torch.float32, torch.float64) for site in network.shapes):
        return "its weights are of less than 32 bits"
    if dist.is_available() and dist.is_initialized():
        return "it learns in several processes"
    return ""
