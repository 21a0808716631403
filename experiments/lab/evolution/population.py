"""Lifetimes of a whole population of rules, on one architecture, in one loop.

The same mathematics as the inner step (`tests/experiments/lab/test_population.py` compares them),
for `rule_of`'s family of rules and the layers of `random_network` alone. All parameters of a
lifetime lie in one row, so that a step of hundreds of lifetimes is a few operations: that is what
makes evolution affordable. Only the noise of the mirror is drawn in another way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.lab.evolution.adaptation import Adaptation
from experiments.lab.evolution.networks import Beside
from experiments.lab.transfer.batched import Lifetimes, MakeNetwork

Layer = Callable[[list[Tensor], list[Tensor] | None, Tensor], Tensor]


class Product(torch.autograd.Function):
    """`W x`, whose error is carried back by B: matrices `lives post pre`, `lives pre columns`."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, feedback: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(feedback, x)
        return torch.bmm(weight, x)

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None, Tensor | None]:
        feedback, x = ctx.saved_tensors
        back = torch.bmm(feedback.mT, signal) if ctx.needs_input_grad[2] else None
        return torch.bmm(signal, x.mT), None, back


@dataclass
class Rows:
    """An architecture whose parameters, of every lifetime, are one row.

    Attributes:
        shapes: of the parameters, in order.
        inputs: of a unit, parameter by parameter; 0 where it is no product's weight.
        hidden: whether it belongs to a product before the last one.
    """

    layers: list[Layer] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    shapes: list[torch.Size] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    hidden: list[bool] = field(default_factory=list)

    @property
    def sizes(self) -> list[int]:
        """Numbers in each parameter."""
        return [shape.numel() for shape in self.shapes]

    def run(self, parts: list[Tensor], feedback: list[Tensor] | None, x: Tensor) -> Tensor:
        """`lives queries ...` -> `lives queries outputs`."""
        for layer in self.layers:
            x = layer(parts, feedback, x)
        return x


def rows_of(network: nn.Sequential) -> Rows:
    """The architecture of such a network.

    Raises:
        TypeError: for a layer that is not one of `random_network`'s.
    """
    rows = Rows()
    rows.layers = _layers(network, rows, "")
    last = max(i for i, inputs in enumerate(rows.inputs) if inputs)
    rows.hidden = [h and i < last for i, h in enumerate(rows.hidden)]
    return rows


def _layers(network: nn.Sequential, rows: Rows, prefix: str) -> list[Layer]:
    return [_layer(module, rows, f"{prefix}{name}.") for name, module in network.named_children()]


def _layer(module: nn.Module, rows: Rows, prefix: str) -> Layer:
    if isinstance(module, nn.Linear | nn.Conv2d):
        return _product(module, rows, prefix)
    if isinstance(module, nn.LayerNorm | nn.GroupNorm):
        return _norm(module, rows, prefix)
    if isinstance(module, nn.Flatten):
        return lambda parts, feedback, x: x.flatten(2)
    if isinstance(module, Beside):
        assert isinstance(module.body, nn.Sequential)
        inner = _layers(module.body, rows, prefix + "body.")

        def beside(parts: list[Tensor], feedback: list[Tensor] | None, x: Tensor) -> Tensor:
            out = x
            for layer in inner:
                out = layer(parts, feedback, out)
            return x + out

        return beside
    if list(module.parameters()):
        raise TypeError(f"{type(module).__name__} is not a layer that a population learns in.")
    return lambda parts, feedback, x: module(x)


def _register(module: nn.Module, rows: Rows, prefix: str, inputs: int, site: bool) -> list[int]:
    found = []
    for name, p in module.named_parameters():
        found.append(len(rows.names))
        rows.names.append(prefix + name)
        rows.shapes.append(p.shape)
        rows.inputs.append(inputs if name == "weight" else 0)
        rows.hidden.append(site)
    return found


def _product(module: nn.Linear | nn.Conv2d, rows: Rows, prefix: str) -> Layer:
    post, pre = module.weight.flatten(1).shape
    own = _register(module, rows, prefix, pre, True)

    def product(parts: list[Tensor], feedback: list[Tensor] | None, x: Tensor) -> Tensor:
        lives, queries = x.shape[:2]
        weight = parts[own[0]].view(lives, post, pre)
        back = weight if feedback is None else feedback[own[0]].view(lives, post, pre)
        if isinstance(module, nn.Conv2d):
            height = _side(module, x.shape[3], 0)
            patches = F.unfold(
                x.flatten(0, 1), module.kernel_size, 1, module.padding, module.stride  # type: ignore[arg-type]
            )  # fmt: skip
            columns = patches.view(lives, queries, pre, -1).transpose(1, 2).reshape(lives, pre, -1)
        else:
            columns = x.transpose(1, 2)
        out = Product.apply(weight, back, columns)  # type: ignore[no-untyped-call]
        if len(own) > 1:
            out = out + parts[own[1]].view(lives, post, 1)
        if isinstance(module, nn.Conv2d):
            out = out.view(lives, post, queries, height, -1)
        return out.transpose(1, 2)  # type: ignore[no-any-return]

    return product


def _side(module: nn.Conv2d, side: int, axis: int) -> int:
    padding = module.padding[axis]
    assert isinstance(padding, int)
    return (side + 2 * padding - module.kernel_size[axis]) // module.stride[axis] + 1


def _norm(module: nn.LayerNorm | nn.GroupNorm, rows: Rows, prefix: str) -> Layer:
    gain, shift = _register(module, rows, prefix, 0, False)

    def norm(parts: list[Tensor], feedback: list[Tensor] | None, x: Tensor) -> Tensor:
        shape = (len(x), 1, -1, *[1] * (x.dim() - 3))
        if isinstance(module, nn.LayerNorm):
            out = F.layer_norm(x, x.shape[2:], eps=module.eps)
        else:
            out = F.group_norm(x.flatten(0, 1), module.num_groups, eps=module.eps).view(x.shape)
        return out * parts[gain].view(shape) + parts[shift].view(shape)

    return norm


def accuracies(
    population: Sequence[Mapping[str, float]],
    make: MakeNetwork,
    lifetimes: Lifetimes,
    marks: Sequence[int],
    *,
    rows_of_noise: int | None,
) -> Tensor:
    """`rules lifetimes marks`: each rule lives the same lifetimes, from the same first weights.

    Args:
        rows_of_noise: of the mirror; None for backprop in its place.
    """
    networks = [make(seed) for seed in lifetimes.seeds]
    rows = rows_of(networks[0])  # type: ignore[arg-type]
    rules, lives = len(population), len(networks)
    first = torch.stack(
        [torch.cat([p.detach().flatten() for p in n.parameters()]) for n in networks]
    )
    flat = first.repeat(rules, 1)
    exact = rows_of_noise is None
    back = None if exact else _mirrored(first, rows, rows_of_noise or 1, lifetimes).repeat(rules, 1)
    adapt = Adaptation(population, lives, rows.sizes, rows.inputs, rows.hidden, flat)
    x, y = (part.repeat(rules, *[1] * (part.dim() - 1)) for part in (lifetimes.x, lifetimes.y))
    query_x = lifetimes.query_x.repeat(rules, *[1] * (lifetimes.query_x.dim() - 1))
    answers = []
    for number in range(marks[-1] + 1):
        if number in marks:
            with torch.no_grad():
                logits = rows.run(list(torch.split(flat, rows.sizes, 1)), None, query_x)
            right = logits.argmax(-1) == lifetimes.query_y.repeat(rules, 1)
            right &= logits.isfinite().all(-1)
            answers.append(right.double().mean(1).view(rules, lives))
        if number == marks[-1]:
            break
        parts = [part.detach().requires_grad_() for part in torch.split(flat, rows.sizes, 1)]
        feedback = None if back is None else list(torch.split(back, rows.sizes, 1))
        logits = rows.run(parts, feedback, x[:, number, None])
        loss = F.cross_entropy(logits.flatten(0, 1), y[:, number], reduction="sum")
        push = -torch.cat(torch.autograd.grad(loss, parts), 1)
        change = adapt.change(push, flat, number + 1)
        flat.add_(change)
        if back is not None:
            back.add_(change.mul_(adapt.gain))
    return torch.stack(answers, 2)


def _mirrored(first: Tensor, rows: Rows, count: int, lifetimes: Lifetimes) -> Tensor:
    """Feedback by noise: every weight times the sample covariance of so many rows of noise."""
    found = first.clone()
    generator = torch.Generator().manual_seed(lifetimes.seeds[0])
    parts = zip(torch.split(found, rows.sizes, 1), rows.shapes, rows.inputs, strict=True)
    for number, (part, shape, inputs) in enumerate(parts):
        if not inputs or number == 0:  # nothing is carried back from the first
            continue
        for life in range(len(first)):
            x = torch.randn(count, inputs, generator=generator, dtype=first.dtype)
            weight = part[life].view(shape[0], inputs)
            weight.copy_(weight @ x.mT @ x / count)
    return found
