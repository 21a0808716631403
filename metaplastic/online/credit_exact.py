"""A rule's gradient as an ordinary differentiable function: for meta-learning through a pathway.

Two passes, as every inner step takes them (`inner.passes`). Nothing in them is a custom backward
pass, so autograd differentiates the gradient as often as needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from metaplastic.inner.network import PlasticNetwork
from metaplastic.inner.passes import first_pass, second_pass
from metaplastic.inner.teacher import LossTeacher
from metaplastic.online.credit import Credit, Loss
from metaplastic.pathways.inverse import InversePathway
from metaplastic.sites.names import bare


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
    if isinstance(credit.rule.pathway, InversePathway):
        raise ValueError(
            "A rule that carries targets through inverses has no differentiable form here; use a "
            "sequential or direct rule."
        )
    model = bare(model)
    at = {**dict(model.named_parameters()), **(parameters or {})}
    held = {} if credit.held is None else {n: credit.feedback(n) for n in credit.shapes}
    given = {**held, **(feedback or {})} if held else {}
    learned = set(credit.found.biases) | {
        names[0] for s, names in credit.found.parameters.items() if not credit.found.is_derived(s)
    }
    others = [name for name in at if name not in learned]
    chosen = [name for name in credit.found.names if not credit.found.is_derived(name)]
    network = PlasticNetwork(
        model, credit.found, LossTeacher(loss_fn), chosen, others, credit.output
    )
    tape = first_pass(network, at, x, follow=False)
    loss = loss_fn(tape.output, y)
    if isinstance(tape.output, Tensor) and credit.output is None:
        slope = torch.func.grad(lambda prediction: loss_fn(prediction, y))(tape.prediction)
    else:
        (slope,) = torch.autograd.grad(loss, tape.prediction, create_graph=True)
    signals, pushes = second_pass(network, at, given, credit.rule.pathway, x, tape, slope)
    table = {name: torch.zeros_like(value) for name, value in at.items()}
    table |= pushes
    for product, signal in zip(tape.products, signals, strict=True):
        name = network.parameter(product.site)
        table[name] = table[name] + product.outer(signal, product.x, at[name])
        if product.bias is not None:
            units = product.operation.units_last(signal)
            push = units.reshape(-1, units.shape[-1]).sum(0)
            bias = product.bias.weight
            table[bias] = table[bias] + product.scattered_bias(push, at[bias])
    for site in network.plastic:
        name = network.parameter(site)
        table[name] = credit.rule.finish(table[name])
    return loss, table
