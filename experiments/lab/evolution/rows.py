"""An architecture of `random_network` whose parameters, of every lifetime, are one row.

A step of hundreds of lifetimes is then a few operations, which is what makes evolution affordable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.lab.evolution.attention import Attention, MeanOfTokens, Tokens
from experiments.lab.evolution.networks import Beside
from experiments.lab.evolution.passes import Product, Tape

Parts = list[Tensor]
Layer = Callable[[Parts, Parts | None, Tensor, Tape | None], Tensor]


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

    def split(self, flat: Tensor) -> Parts:
        """`lives numbers` by parameter."""
        return list(torch.split(flat, self.sizes, 1))

    def run(
        self, parts: Parts, feedback: Parts | None, x: Tensor, tape: Tape | None = None
    ) -> Tensor:
        """`lives queries ...` -> `lives queries outputs`."""
        for layer in self.layers:
            x = layer(parts, feedback, x, tape)
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
        return lambda parts, feedback, x, tape: x.flatten(2)
    if isinstance(module, MeanOfTokens):
        return lambda parts, feedback, x, tape: x.mean(2)
    if isinstance(module, Tokens):
        return _tokens(module, rows, prefix)
    if isinstance(module, Attention):
        return _attention(module, rows, prefix)
    if isinstance(module, Beside):
        assert isinstance(module.body, nn.Sequential)
        inner = _layers(module.body, rows, prefix + "body.")

        def beside(parts: Parts, feedback: Parts | None, x: Tensor, tape: Tape | None) -> Tensor:
            out = x
            for layer in inner:
                out = layer(parts, feedback, out, tape)
            return x + out

        return beside
    if list(module.parameters()):
        raise TypeError(f"{type(module).__name__} is not a layer that a population learns in.")
    return lambda parts, feedback, x, tape: module(x)


def _register(module: nn.Module, rows: Rows, prefix: str, inputs: int, site: bool) -> list[int]:
    found = []
    for name, p in module.named_parameters(recurse=False):
        found.append(len(rows.names))
        rows.names.append(prefix + name)
        rows.shapes.append(p.shape)
        rows.inputs.append(inputs if name == "weight" else 0)
        rows.hidden.append(site)
    return found


def _product(module: nn.Linear | nn.Conv2d, rows: Rows, prefix: str) -> Layer:
    post, pre = module.weight.flatten(1).shape
    own = _register(module, rows, prefix, pre, True)

    def product(parts: Parts, feedback: Parts | None, x: Tensor, tape: Tape | None) -> Tensor:
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
            columns = x.reshape(lives, -1, pre).transpose(1, 2)
        if tape is None:
            out = Product.apply(weight, back, columns)  # type: ignore[no-untyped-call]
        else:
            out = tape.product(own[0], weight, back, columns)
        if len(own) > 1:
            out = out + parts[own[1]].view(lives, post, 1)
        if isinstance(module, nn.Conv2d):
            return out.view(lives, post, queries, height, -1).transpose(1, 2)  # type: ignore[no-any-return]
        return out.transpose(1, 2).reshape(*x.shape[:-1], post)  # type: ignore[no-any-return]

    return product


def _side(module: nn.Conv2d, side: int, axis: int) -> int:
    padding = module.padding[axis]
    assert isinstance(padding, int)
    return (side + 2 * padding - module.kernel_size[axis]) // module.stride[axis] + 1


def _norm(module: nn.LayerNorm | nn.GroupNorm, rows: Rows, prefix: str) -> Layer:
    gain, shift = _register(module, rows, prefix, 0, False)

    def norm(parts: Parts, feedback: Parts | None, x: Tensor, tape: Tape | None) -> Tensor:
        if isinstance(module, nn.LayerNorm):
            shape = (len(x), *[1] * (x.dim() - 2), -1)
            out = F.layer_norm(x, module.normalized_shape, eps=module.eps)
        else:
            shape = (len(x), 1, -1, *[1] * (x.dim() - 3))
            out = F.group_norm(x.flatten(0, 1), module.num_groups, eps=module.eps).view(x.shape)
        return out * parts[gain].view(shape) + parts[shift].view(shape)

    return norm


def _tokens(module: Tokens, rows: Rows, prefix: str) -> Layer:
    (position,) = _register(module, rows, prefix, 0, False)
    inner = _product(module.embed, rows, prefix + "embed.")

    def tokens(parts: Parts, feedback: Parts | None, x: Tensor, tape: Tape | None) -> Tensor:
        cut = module.cut(x.flatten(0, 1))
        cut = cut.view(*x.shape[:2], *cut.shape[1:])
        out = inner(parts, feedback, cut, tape)
        return out + parts[position].view(len(x), 1, *module.position.shape)

    return tokens


def _attention(module: Attention, rows: Rows, prefix: str) -> Layer:
    query, key, value, out = (
        _product(linear, rows, f"{prefix}{name}.")
        for name, linear in module.named_children()
        if isinstance(linear, nn.Linear)
    )

    def attention(parts: Parts, feedback: Parts | None, x: Tensor, tape: Tape | None) -> Tensor:
        q, k, v = (layer(parts, feedback, x, tape) for layer in (query, key, value))
        return out(parts, feedback, module.mixed(q, k, v), tape)

    return attention
