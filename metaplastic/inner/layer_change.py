"""A polynomial rule's change of a whole layer in outer products, without a convolution's rows.

The terms that need no number summed over a synapse's own weights (`Polynomial.light`) are outer
products of something shaped as a site's output with something shaped as its input. So a convolution
computes them as it computes its gradient, and its patches are never made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from metaplastic.plasticity.base import PlasticityRule
from metaplastic.plasticity.polynomial import TERMS, LocalQuantities, Polynomial
from metaplastic.sites.convolution import Convolution
from metaplastic.sites.operations import Linear, Right
from metaplastic.sites.products import Product
from metaplastic.support.level import SMALLEST

FEW = 8  # rows, up to which blocks are put together


@dataclass
class LayerChange:
    """The change of one product's weight: `sum of left^T right`, and what is added to it.

    `left` is shaped as the output and `right` as the input, both with examples first.
    """

    blocks: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    added: list[Tensor] = field(default_factory=list)  # of the shape of the part that is used

    def whole(self, product: Product, part: Tensor) -> Tensor:
        """As one tensor of the shape of `part`."""
        terms = [product.operation.outer(left, right, part) for left, right in self.blocks]
        total: Tensor | None = None
        for term in (*terms, *self.added):
            total = term if total is None else total + term
        return torch.zeros_like(part) if total is None else total


def in_whole_layers(plasticity: PlasticityRule, products: Sequence[Product]) -> bool:
    """Whether the rule's change of these products' weights can be had so."""
    return (
        type(plasticity) is Polynomial
        and plasticity.light
        and all(isinstance(p.operation, Linear | Convolution) for p in products)
        and all(p.operation.per_unit for p in products)
    )


def layer_change(
    plasticity: PlasticityRule,
    product: Product,
    signal: Tensor,
    activity: Tensor,
    back: Tensor | None,
    part: Tensor,
    rate: Tensor,
) -> LayerChange:
    """The change of a product's weight.

    Args:
        signal, activity: shaped as the product's output.
        back: what presynaptic units receive, shaped as its input, if the rule reads it.
        part: the weight as the product uses it.
        rate: the coefficients, `terms 1 1`, times what they are multiplied by.
    """
    assert isinstance(plasticity, Polynomial)
    operation, x = product.operation, product.x
    y, s = operation.units_last(activity), operation.units_last(signal)
    size = back_size = None
    if plasticity.normalized:
        size = _inverse_length(product, x, part)
        back_size = None if back is None else _inverse_length(product, back, part)
        y = y * size
    seen, behind = LocalQuantities(y, y, y, s, y), dict[str, Tensor]()
    for name, coefficient in zip(plasticity.terms, rate.unbind(-3), strict=True):
        for what, factor in TERMS[name].factors(seen).items():
            term = coefficient * factor
            behind[what] = behind[what] + term if what in behind else term
    found = LayerChange()
    blocks: list[tuple[Tensor, Tensor]] = []  # units last
    if "pre" in behind:
        blocks.append((_scaled(behind["pre"], size), x))
    if "back" in behind and back is not None:
        blocks.append((_scaled(behind["back"], back_size), back))
    if "reading" in behind:
        _read(product, behind["reading"], y, part, blocks, found.added)
    if "weight" in behind:
        per_unit = behind["weight"].reshape(-1, behind["weight"].shape[-1]).sum(0)
        found.added.append(_by_unit(product, per_unit, part) * part)
    found.blocks = _joined(product, blocks)
    return found


def _scaled(factor: Tensor, size: Tensor | None) -> Tensor:
    return factor if size is None else factor * size


def _joined(product: Product, blocks: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """All blocks of a product; as one where it is rather weights than rows that cost."""
    operation = product.operation
    few = blocks and blocks[0][0][..., 0].numel() <= FEW
    if isinstance(operation, Linear) and len(blocks) > 1 and few:
        left = torch.cat([a.reshape(-1, a.shape[-1]) for a, _ in blocks])
        right = torch.cat([b.reshape(-1, b.shape[-1]) for _, b in blocks])
        return [(left, right)]
    return [(operation.units_back(left), right) for left, right in blocks]


def _read(
    product: Product,
    factor: Tensor,
    y: Tensor,
    part: Tensor,
    blocks: list[tuple[Tensor, Tensor]],
    added: list[Tensor],
) -> None:
    """`factor^T (y W)`: by rows where they are few, else as `(factor^T y) W`."""
    operation = product.operation
    left, flat = factor.reshape(-1, factor.shape[-1]), y.reshape(-1, y.shape[-1])
    if isinstance(operation, Linear) and len(flat) < flat.shape[1]:
        matrix = part.mT if isinstance(operation, Right) else part
        read = (flat @ matrix).reshape(product.x.shape)
        blocks.append((factor, read))
        return
    whole = operation.matrix(part)
    if len(whole) > 1:  # groups: units of a group read their own
        by_group = [t.reshape(len(t), len(whole), -1).transpose(0, 1) for t in (left, flat)]
        mixed = torch.bmm(by_group[0].mT, by_group[1]) @ whole
    else:
        mixed = ((left.mT @ flat) @ whole[0])[None]
    added.append(operation.unmatrix(mixed, part))


def _by_unit(product: Product, per_unit: Tensor, part: Tensor) -> Tensor:
    """A number for each unit, where it multiplies the weight."""
    if isinstance(product.operation, Right):
        return per_unit
    return per_unit.reshape(-1, *[1] * (part.dim() - 1))


def _inverse_length(product: Product, x: Tensor, part: Tensor) -> Tensor:
    """1 / root of the mean over rows of the squared length of what meets the synapses.

    One number; `support.level`.
    """
    operation = product.operation
    if isinstance(operation, Linear):
        rows = x[..., 0].numel()
        total = x.square().sum()
        mean = total if rows == 1 else total / rows
    elif len(operation.matrix(part)) > 1:
        mean = operation.pre_rows(x, part).square().sum(-1).mean()
    else:
        mean = operation.run(x.square(), torch.ones_like(part[:1])).mean()
    return (mean + SMALLEST).rsqrt()
