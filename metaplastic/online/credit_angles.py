"""How far a rule's feedback and errors are from backpropagation's, site by site.

Angles are in degrees, between flattened tensors. `weight`: between W and what carries errors back
in its place. `local`: at a site's input, between its error and W^T times the same signal. `delta`
(global): at a site's output, between the signal and the one that backpropagation through the whole
network delivers; harsher in depth. `ratio` is the norm of what carries errors back over that of W.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from metaplastic.online.credit import Credit, Loss
from metaplastic.pathways.inverse import InversePathway
from metaplastic.sites.outputs import call
from metaplastic.sites.products import Product
from metaplastic.sites.reroute import rerouted, runnable


@dataclass(frozen=True)
class SiteAngles:
    """Of one site; None where there is nothing to compare: the first site sends no error on."""

    weight: float | None
    ratio: float | None
    delta: float
    local: float | None


def angles(
    credit: Credit, model: nn.Module, x: Any, y: Any, loss_fn: Loss
) -> dict[str, SiteAngles]:
    """Site -> its angles on this minibatch. Changes no gradient, weight, feedback or statistic.

    Raises:
        ValueError: for a rule that carries targets through inverses; compare its gradients instead.
    """
    if isinstance(credit.rule.pathway, InversePathway):
        raise ValueError(
            "This rule has targets in the place of errors at its sites; compare the gradients it "
            "leaves with backprop's (`angle`)."
        )
    chance = torch.get_rng_state()
    exact, _ = _signals(credit, model, x, y, loss_fn, reroute=False)
    torch.set_rng_state(chance)
    found, carried = _signals(credit, model, x, y, loss_fn, reroute=True)
    torch.set_rng_state(chance)
    table = {}
    for name in found:
        weight = credit.weight(name, model)
        back = None
        if not credit.rule.pathway.direct and name in carried:
            back = credit.through(name, model)
        table[name] = SiteAngles(
            weight=None if back is None else angle(weight, back),
            ratio=None if back is None else float(back.detach().norm() / weight.detach().norm()),
            delta=angle(found[name], exact[name]),
            local=angle(*carried[name]) if name in carried else None,
        )
    return table


def angle(a: Tensor, b: Tensor) -> float:
    """Degrees between two tensors; 90 where one of them is zero."""
    a, b = a.detach().double().flatten(), b.detach().double().flatten()
    lengths = a.norm() * b.norm()
    if lengths == 0:
        return 90.0
    # By both legs: the cosine alone knows nothing of angles below a millionth of a degree.
    a, b = a / a.norm(), b / b.norm()
    return float(torch.rad2deg(2 * torch.atan2((a - b).norm(), (a + b).norm())))


def _signals(
    credit: Credit, model: nn.Module, x: Any, y: Any, loss_fn: Loss, *, reroute: bool
) -> tuple[dict[str, Tensor], dict[str, tuple[Tensor, Tensor]]]:
    """Signals at the sites' outputs; and, of the errors carried to inputs, the rule's and W's."""
    outputs: dict[str, list[Tensor]] = {}
    carried: dict[str, tuple[Tensor, Tensor]] = {}

    direct = credit.rule.pathway.direct

    def watch(product: Product, out: Tensor) -> None:
        if out.requires_grad:
            received, listen = outputs.setdefault(product.site, []), cast(Any, out.register_hook)
            listen(lambda signal: received.append(signal.detach()))

    weights = {}
    if not direct:
        weights = {name: credit.through(name, model).detach() for name in credit.shapes}
    exact_weights = {name: credit.weight(name, model).detach() for name in credit.shapes}

    def carry(product: Product, signal: Tensor, like: Tensor) -> Tensor:
        name = product.site
        exact = product.carry(signal, exact_weights[name].to(signal.dtype), like)
        if direct:
            first = product.examples_first(like)
            sent = product.examples_first(credit.sent(name, errors[0], first))
        else:
            sent = product.carry(signal, weights[name].to(signal.dtype), like)
        carried[name] = (sent, exact)
        return sent

    errors: list[Tensor] = []
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    how = rerouted(model, credit.found, carry if reroute else None, watch)
    with torch.enable_grad(), how:
        output = credit.picked(call(runnable(model), x))
        leaf = output.detach().requires_grad_()
        errors += torch.autograd.grad(loss_fn(leaf, y), leaf)
        reached = [p for p in model.parameters() if p.requires_grad]
        torch.autograd.grad(output, reached, errors[0], allow_unused=True)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(before[name])
    # A module that is called twice has two signals, which stand one after the other.
    flat = {name: torch.cat([f.flatten() for f in found]) for name, found in outputs.items()}
    return flat, carried
