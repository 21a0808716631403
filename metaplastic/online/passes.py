"""The passes of a plastic module: the last one, what stays from one to the next, and its step."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from metaplastic.online.credit import Credit
from metaplastic.online.learning import learn
from metaplastic.online.memory import Memory
from metaplastic.online.norms import Norms, norm_handlers
from metaplastic.online.plan import Plan
from metaplastic.online.recorded_pass import RecordedPass
from metaplastic.online.teaching import Loss, teaching_of
from metaplastic.sites.outputs import detached
from metaplastic.support.reasons import in_short

if TYPE_CHECKING:
    from metaplastic.online.compiled.form import Form
    from metaplastic.online.compiled.model import Compiled

Compile = bool | Literal["inductor"]


class Passes:
    """Runs a model and learns from the last pass, compiled or as it is.

    Args:
        compiles: whether to compile, and to machine code; not from when it turns out that it
            cannot be done.
    """

    def __init__(
        self, credit: Credit, memory: Memory, model: nn.Module, norms: Norms, compiles: Compile
    ) -> None:
        self.credit, self.memory, self.model = credit, memory, model
        self.norms: Norms = norms
        self.compiles, self.machine_code = bool(compiles), compiles == "inductor"
        self.plan: Plan | None = None
        self.compiled: Compiled | None = None
        self.last: RecordedPass | Form | None = None
        self.output: Any = None
        self.keeps_norm = credit.rule.pathway.keeps_norm

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The model's output, without its graph."""
        self.forget()
        if self.keeps_norm:
            with torch.no_grad():
                self.memory.restore_norms(self.credit, self.model)
        if self.plan is None or not self.plan.holds():
            self.plan = Plan(self.credit, self.memory.network, self.model)
            self.compiled = None
        if not (self.compiles and self._run_compiled(self.plan, args, kwargs)):
            recorded = RecordedPass(
                self.credit, self.memory.network, self.plan, self.model, norm_handlers(self.norms)
            )
            with torch.enable_grad():
                self.output = recorded.run(self.model, args, kwargs)
            self.last = recorded
        return detached(self.output)

    def _run_compiled(self, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether the compiled pass could be run."""
        from metaplastic.online.compiled.model import CANNOT, Compiled  # and PyTorch's compiler

        if self.compiled is None:
            self.compiled = Compiled(
                self.credit, self.memory, plan, self.model, self.norms, self.machine_code
            )
        try:
            self.output, self.last = self.compiled.run(args, kwargs)
        except CANNOT as reason:
            self.compiles = False
            warnings.warn(
                f"This model's steps cannot be compiled: {in_short(reason)}. It learns uncompiled, "
                "slower but the same; leave compile=True out if that is all right.",
                stacklevel=6,
            )
        return self.compiles

    def learn(self, y: Any, loss_fn: Loss | None, rate_scale: float) -> Tensor:
        """Learn from the last pass; the mean loss. Whatever is raised, nothing has changed."""
        if self.last is None:
            raise RuntimeError("There is no answer to learn from; call net(x) in train mode first.")
        done, output, credit = self.last, self.output, self.credit
        prediction = credit.picked(output)
        if output is not prediction and not prediction.requires_grad:
            prediction.requires_grad_()  # for a loss of the whole output
        loss, teaching, answer = teaching_of(output, prediction, y, loss_fn)
        self.output = None
        before: dict[str, Tensor] = {}
        try:
            done.check_inputs()
            if self.memory.sleeps:
                with torch.no_grad():
                    before = self.memory.sleep(credit, self.model)
            if credit.rule.rate_scale != rate_scale:
                credit.rule.rate_scale = rate_scale
            if isinstance(done, RecordedPass):
                pushes = done.send(prediction, teaching)
                assert self.plan is not None
                learn(
                    credit, self.memory, self.plan, self.model, done, pushes, teaching, answer, loss
                )
            else:
                done.learn(teaching, answer, loss)
        except Exception:
            self.memory.awaken(credit, before)
            raise
        finally:
            self.forget()
        return loss.detach()

    def forget(self) -> None:
        """Let go of the last pass."""
        if self.last is not None:
            self.last.clear()
        self.last, self.output = None, None
