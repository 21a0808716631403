"""Credit assignment for any module: gradients by a rule's own feedback, in the place of backprop's.

credit = metaplastic.credit("symmetric_alignment", model, example=x)
opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
loss = credit.backward(model, x, y, loss_fn)  # fills .grad; the feedback follows
opt.step()
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from metaplastic.online.credit_feedback import Feedback, weight_of
from metaplastic.rules import rule_of
from metaplastic.sites.credit_rule import CreditRule
from metaplastic.sites.credit_shapes import Shapes, trace
from metaplastic.sites.credit_sites import Meeting, bare, find
from metaplastic.sites.reroute import Carry, rerouted

Loss = Callable[[Tensor, Any], Tensor]


class Credit(nn.Module):
    """A rule at the sites of one model: its feedback weights, as buffers, and what they do.

    `sites` maps each site's name to the first site of the same weight: they share feedback.
    The model is handed in anew at every call and is never changed: a copy, or the model inside
    DistributedDataParallel or `torch.compile`, will do.
    """

    def __init__(
        self, rule: CreditRule, model: nn.Module, example: Any, seed: int, leave: Collection[str]
    ) -> None:
        super().__init__()
        self.rule, self.sites = rule, find(model, leave)
        self.shapes: Shapes = trace(model, self.sites, example)
        own = rule.has_feedback and rule.route != "inverse"
        self.held = Feedback(rule, model, self.sites, self.shapes, seed) if own else None
        self._errors: Tensor | None = None

    def feedback(self, name: str) -> Tensor:
        """A site's feedback weights."""
        if self.held is None:
            raise ValueError(f"{type(self.rule).__name__} has no feedback weights.")
        return self.held.of(self.sites[name])

    def through(self, name: str, model: nn.Module) -> Tensor:
        """What carries errors back through a site: of the shape of its weight."""
        weight = weight_of(model, self.sites[name])
        if self.held is None:
            return weight
        return self.rule.through(weight, self.feedback(name).to(weight))

    def backward(self, model: nn.Module, x: Any, y: Any, loss_fn: Loss) -> Tensor:
        """Run the model, add to every parameter's `.grad`, let the feedback follow; the loss.

        Sites get `signal x^T` with the signal that came through the feedback; all other parameters
        what the same signals give them. x is handed to the model as it is, or as `*x`, if a tuple.

        Raises:
            ValueError: for a loss that is not one number, or an output that is not one tensor where
                the rule sends the output's error.
        """
        if self.rule.route == "inverse":
            return self._by_inverses(model, x, y, loss_fn)
        if self.held is not None:
            self.held.rescale(model)
            if self.rule.sees_change:
                self.held.follow_change(model)
        seen: dict[str, list[Tensor]] = {}
        had = self._set_aside(model)
        with self.rerouted(model, seen if self.rule.sees_inputs else None):
            output = model(*x) if isinstance(x, tuple) else model(x)
            loss = self._send(output, y, loss_fn)
        self._finish(model, had)
        learns = (self.rule.follows or self.rule.noise) and not self.rule.sees_change
        if self.held is not None and learns:
            self.held.follow(model, seen)
        return loss

    @contextmanager
    def rerouted(
        self, model: nn.Module, seen: dict[str, list[Tensor]] | None = None
    ) -> Iterator[None]:
        """For a training loop of one's own: forward and backward within are this rule's.

        Not for direct rules, which must know the output's error. The feedback follows only in
        `backward`.
        """

        def watch(name: str, x: Tensor, out: Tensor) -> None:
            if seen is not None and x.requires_grad:  # else nothing is carried back from here
                seen.setdefault(name, []).append(x.detach())

        with rerouted(model, self.sites, self.carrier(model), None if seen is None else watch):
            yield

    def carrier(self, model: nn.Module) -> Carry | None:
        """What sends a signal from a site's output to its input; None where backprop does."""
        if self.held is None:
            return None
        if self.rule.route == "direct":
            return lambda name, meeting, signal, like: self._direct(name, like)
        weights = {name: self.through(name, model).detach() for name in self.sites.values()}

        def carry(name: str, meeting: Meeting, signal: Tensor, like: Tensor) -> Tensor:
            return meeting.carry(signal, weights[name].to(signal.dtype), like)

        return carry

    def signals(
        self, output: Tensor, errors: Tensor, at: Sequence[GradientEdge]
    ) -> tuple[Tensor, ...]:
        """What arrives at these places of a pass that ran through `carrier`."""
        self._errors = errors
        found = torch.autograd.grad(output, at, errors)
        self._errors = None
        return found

    def detach(self) -> None:
        """Let go of everything kept of the model; it never carried anything of this."""
        self._errors = None

    def _send(self, output: Any, y: Any, loss_fn: Loss) -> Tensor:
        if self.rule.route != "direct":
            loss = _one_number(loss_fn(output, y))
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()
        if not isinstance(output, Tensor):
            raise ValueError(
                f"The model returned a {type(output).__name__}; a direct rule sends the error of "
                "one output tensor. Return a tensor, or use a sequential rule."
            )
        leaf = output.detach().requires_grad_()
        loss = _one_number(loss_fn(leaf, y))
        (self._errors,) = torch.autograd.grad(loss, leaf)
        output.backward(self._errors)  # type: ignore[no-untyped-call]
        self._errors = None
        return loss.detach()

    def _direct(self, name: str, like: Tensor) -> Tensor:
        if self._errors is None:
            raise RuntimeError(
                "A direct rule sends the output's error, which only Credit.backward knows; call it "
                "instead of loss.backward()."
            )
        return self.sent(name, self._errors, like)

    def sent(self, name: str, errors: Tensor, like: Tensor) -> Tensor:
        """What a direct rule sends of the output's errors to the input of a site, shaped `like`."""
        return self.shapes.send(name, errors, self.feedback(name), like)

    def _by_inverses(self, model: nn.Module, x: Any, y: Any, loss_fn: Loss) -> Tensor:
        chain = bare(model)
        if not isinstance(chain, nn.Sequential):
            raise ValueError(
                f"This rule carries targets back through inverse layers, so it needs an "
                f"nn.Sequential; the model is a {type(chain).__name__}. Use another rule for it."
            )
        return self.rule.how.backward(chain, x, y, loss_fn)  # type: ignore[attr-defined,no-any-return]

    def _set_aside(self, model: nn.Module) -> dict[str, Tensor | None]:
        """Earlier gradients of site weights, where the rule finishes this minibatch's alone."""
        if type(self.rule).finish is CreditRule.finish:
            return {}
        had = {}
        for name in dict.fromkeys(self.sites.values()):
            weight = weight_of(model, name)
            had[name], weight.grad = weight.grad, None
        return had

    def _finish(self, model: nn.Module, had: Mapping[str, Tensor | None]) -> None:
        for name, before in had.items():
            weight = weight_of(model, name)
            if weight.grad is not None:
                weight.grad = self.rule.finish(weight.grad)
            if before is not None:
                weight.grad = before if weight.grad is None else before + weight.grad

    def extra_repr(self) -> str:
        return f"{self.rule!r}, sites: {', '.join(self.sites)}"


def _one_number(loss: Tensor) -> Tensor:
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise ValueError(
            f"loss_fn returned {getattr(loss, 'shape', type(loss).__name__)!r}; it must return one "
            "number, such as the mean over the batch."
        )
    return loss


def credit(
    rule: str | CreditRule,
    model: nn.Module,
    *,
    example: Any,
    seed: int = 0,
    leave: Collection[str] = (),
    **options: Any,
) -> Credit:
    """A learning rule by name for any model: finds the sites and makes the feedback weights.

    Args:
        rule: a name or alias in `metaplastic.rules`, or a `CreditRule` of your own.
        example: a minibatch of inputs (a tuple for several), to see which sites are used and what
            shapes they meet. The model is run on it once, in eval mode.
        seed: of the random feedback.
        leave: modules that keep their exact gradient, by dotted name.
        options: of the rule.

    Raises:
        ValueError: for an unknown rule or option, a number out of its range, a model without sites,
            or one that the rule cannot serve; each says what to do.
    """
    return Credit(rule_of(rule, options), model, example, seed, leave)
