"""A rule's gradient as an ordinary differentiable function: for meta-learning through a pathway.

A pass that is rerouted by hooks reroutes the meta-gradient as well, which is then that of another
computation. Here the model runs twice. The first pass is plain and leaves each site's input x and
output z. In the second, a site answers `z + B (x' - x) + dW x + db`, which has the same value and,
at x' = x and dW = 0, the rule's gradient with respect to dW. Nothing in it is a custom backward, so
autograd differentiates it as often as asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metaplastic.online.credit import Credit, Loss
from metaplastic.sites.credit_sites import Meeting, bare


def gradients(
    credit: Credit,
    model: nn.Module,
    x: Any,
    y: Any,
    loss_fn: Loss,
    *,
    parameters: Mapping[str, Tensor] | None = None,
    feedback: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, and the rule's gradient of every parameter, both differentiable.

    Args:
        parameters: values in the place of the model's own, as in `torch.func.functional_call`;
            gradients are differentiable in these.
        feedback: site -> feedback weights in the place of the credit's own.

    The model and its statistics are left as they are. Feedback does not follow.

    Raises:
        ValueError: for a rule that carries targets through inverses.
    """
    if credit.rule.route == "inverse":
        raise ValueError(
            "A rule that carries targets through inverses has no differentiable form here; use a "
            "sequential or direct rule."
        )
    model = bare(model)
    at = {**dict(model.named_parameters()), **(parameters or {})}
    given = (
        {**{n: credit.feedback(n) for n in set(credit.sites.values())}, **(feedback or {})}
        if (credit.rule.has_feedback)
        else {}
    )
    inputs = x if isinstance(x, tuple) else (x,)
    chance = torch.get_rng_state()
    met: list[tuple[Tensor, Tensor]] = []

    def remember(name: str, meeting: Meeting, x: Tensor, out: Tensor) -> Tensor:
        met.append((x, out))
        return out

    with _sites(model, credit, remember):
        output = functional_call(model, {**at, **_statistics(model)}, inputs)
    loss = loss_fn(output, y)
    errors: Tensor | None = None
    if credit.rule.route == "direct":
        (errors,) = torch.autograd.grad(loss, output, create_graph=True)
    moved = {name: torch.zeros_like(value).requires_grad_() for name, value in at.items()}
    waiting, extra = iter(met), []

    def answer(name: str, meeting: Meeting, x: Tensor, out: Tensor) -> Tensor:
        (then, z), owner = next(waiting), credit.sites[name]
        out = z + meeting.run(then, moved[_of(owner, "weight")])
        bias = moved.get(_of(name, "bias"))
        if bias is not None:
            positions = 0 if isinstance(meeting.module, nn.Linear) else out.dim() - 2
            out = out + bias.view(-1, *[1] * positions)
        if errors is not None:
            sent = credit.shapes.send(owner, errors, given[owner], then)
            extra.append((sent * (x - then)).sum())
            return out
        weight = at[_of(owner, "weight")]
        back = credit.rule.through(weight, given[owner]) if given else weight
        return out + meeting.run(x - then, back)

    torch.set_rng_state(chance)
    with _sites(model, credit, answer):
        again = {name: value + moved[name] for name, value in at.items()} | _statistics(model)
        second = loss_fn(functional_call(model, again, inputs), y)
    total = second + sum(extra)
    found = torch.autograd.grad(total, list(moved.values()), create_graph=True, allow_unused=True)
    signs = dict(zip(moved, found, strict=True))
    table = {n: torch.zeros_like(at[n]) if g is None else g for n, g in signs.items()}
    for name in set(credit.sites.values()):
        weight = _of(name, "weight")
        table[weight] = credit.rule.finish(table[weight])
    return loss, table


def _of(site: str, kind: str) -> str:
    """The name of a site's parameter; a site alone has no name."""
    return f"{site}.{kind}" if site else kind


def _statistics(model: nn.Module) -> dict[str, Tensor]:
    """Copies, so that a normalization's running means move in neither pass."""
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


@contextmanager
def _sites(model: nn.Module, credit: Credit, answer: Any) -> Iterator[None]:
    handles = []
    for name, owner in credit.sites.items():
        module: Any = model.get_submodule(name)
        if name != owner and module is model.get_submodule(owner):
            continue
        meeting = Meeting(module)

        def after(
            module: nn.Module,
            given: Any,
            out: Tensor,
            name: str = name,
            meeting: Meeting = meeting,
        ) -> Tensor:
            changed: Tensor = answer(name, meeting, meeting.padded(given[0]), out)
            return changed

        handles.append(module.register_forward_hook(after))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
