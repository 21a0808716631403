"""Two passes of a network: its products, and the signals at them, differentiable twice.

The first pass runs the network as it is and records its products. The second has the same value,
and its Jacobian runs through what carries signals back in the place of the weights: product l emits
`z_l + B_l (x' - x_l) + p_l`, so the signals are its gradient at p = 0. Nothing in it is a custom
backward pass, so autograd differentiates it as often as needed, under `vmap` over tasks too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad

from metaplastic.inner.network import PlasticNetwork
from metaplastic.pathways.base import FeedbackPathway
from metaplastic.sites.activity import FOLLOW, Followed
from metaplastic.sites.attention import attend
from metaplastic.sites.products import Handler, Product, Products


@dataclass
class Tape:
    """The record of the first pass: products in order, their outputs and activities."""

    products: list[Product] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    activity: list[Tensor] = field(default_factory=list)
    ways_back: list[list[Any]] = field(default_factory=list)
    chance: Tensor | None = None  # the state of the random generator before the pass
    versions: list[int] = field(default_factory=list)
    output: Any = None
    prediction: Tensor = field(default_factory=lambda: torch.zeros(()))
    answers: set[int] = field(default_factory=set)  # products whose activity is the prediction


def first_pass(
    network: PlasticNetwork, values: Mapping[str, Tensor], x: Any, *, follow: bool
) -> Tape:
    """The tape of one forward pass; `follow` records activities and the ways back to inputs."""
    tape = Tape()

    def record(product: Product) -> Tensor:
        z = product.call(product.x)
        tape.products.append(product)
        tape.outputs.append(z)
        if tape.chance is not None:  # a compiler has no versions to show
            tape.versions.append(product.x._version)
        return z.clone()  # what follows may write over it

    tape.chance = None if torch.compiler.is_compiling() else torch.get_rng_state()
    handlers = WRITTEN_OUT if network.handlers is None else network.handlers
    kind: type[Products] = Products
    if follow:
        own = network.handlers or {}
        kind, handlers = Followed, {**handlers, **FOLLOW, **own}
    mode = network.mode(kind, record, values, buffers := network.copied_buffers(), handlers)
    tape.output = network.run(values, buffers, x, mode)
    tape.prediction = network.predicted(tape.output)
    for product, version in zip(tape.products, tape.versions, strict=False):
        if product.x._version != version:
            raise RuntimeError(
                f"The input of site {product.site!r} was written over after it was used, so what "
                "its synapses received is lost; use operations that are not in place."
            )
    if isinstance(mode, Followed):
        tape.activity = mode.activity
        tape.ways_back = [mode.way_back(product.x) for product in tape.products]
        shown = mode.shown(tape.prediction)
        tape.answers = set() if shown is None else {shown}
    return tape


def second_pass(
    network: PlasticNetwork,
    values: Mapping[str, Tensor],
    feedback: Mapping[str, Tensor],
    pathway: FeedbackPathway,
    x: Any,
    tape: Tape,
    teaching: Tensor,
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The signal at the output of every product, and the gradients they give other parameters.

    Args:
        teaching: at the prediction, in the direction in which it should go.
    """
    weights = {p.site: network.weight(p.site, values) for p in tape.products}
    carriers = {
        site: pathway.carrier(weight, feedback.get(site, weight))
        for site, weight in weights.items()
        if not pathway.direct
    }
    sent = {}
    if pathway.direct:
        for product in tape.products:
            site = network.shape_of[product.site]
            like = product.examples_first(product.x)
            found = pathway.sent(teaching, feedback[product.site], site, like)
            sent[product.number] = product.examples_first(found)

    def through(probes: list[Tensor], others: dict[str, Tensor]) -> Tensor:
        total: list[Tensor] = []

        def emit(product: Product) -> Tensor:
            number = product.number
            before = tape.products[number]
            out = tape.outputs[number] + probes[number]
            if product.x is not before.x:
                away = product.x - before.x
                if pathway.direct:
                    total.append((sent[number] * away).sum())
                else:
                    out = out + product.run(away, carriers[product.site])
            return out

        handlers = WRITTEN_OUT if network.handlers is None else network.handlers
        now = {**values, **others}
        mode = network.mode(Products, emit, now, buffers := network.copied_buffers(), handlers)
        prediction = network.predicted(network.run(now, buffers, x, mode))
        return torch.stack([(teaching * prediction).sum(), *total]).sum()

    if tape.chance is not None:
        torch.set_rng_state(tape.chance)  # dropout drops the same units
    probes = [torch.zeros_like(z) for z in tape.outputs]
    others = {name: values[name] for name in network.others}
    signals, pushes = grad(through, (0, 1))(probes, others)
    return signals, pushes


def plain_pass(network: PlasticNetwork, values: Mapping[str, Tensor], x: Any) -> Tensor:
    """The prediction of a plain forward pass."""
    buffers = network.copied_buffers()
    handlers = WRITTEN_OUT
    mode = network.mode(
        Products, lambda product: product.call(product.x), values, buffers, handlers
    )
    return network.predicted(network.run(values, buffers, x, mode))


def _attention(mode: Products, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return attend(*args, **kwargs)


def _batch_norm(mode: Products, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A BatchNorm by the minibatch's statistics in train mode, without updating running ones."""
    names = ("input", "running_mean", "running_var", "weight", "bias", "training")
    given = dict(zip(names, args, strict=False)) | kwargs
    if given.get("training"):
        given |= {"running_mean": None, "running_var": None}
        return func(given.pop("input"), *[given.pop(name) for name in names[1:3]], **given)
    return func(*args, **kwargs)


WRITTEN_OUT: dict[Any, Handler] = {
    F.scaled_dot_product_attention: _attention, F.batch_norm: _batch_norm
}  # fmt: skip
