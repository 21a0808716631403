"""A polynomial rule's change of a whole layer in outer products, without a convolution's rows.

The terms that need no number summed over a synapse's own weights (`Polynomial.light`) are outer
products of something shaped as a site's output with something shaped as its input. So a convolution
computes them as it computes its gradient, and its patches are never made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor

from metaplastic.plasticity.base import PlasticityRule
from metaplastic.plasticity.polynomial import Polynomial
from metaplastic.plasticity.terms import DEGREE, POST, TERMS, LocalQuantities
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
        return _sum([*terms, *self.added]) if terms or self.added else torch.zeros_like(part)


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
    seen, found = LocalQuantities(y, y, y, s, y), LayerChange()
    sums: dict[tuple[str, str], Tensor] = {}  # coefficients of products
    for name, coefficient in zip(plasticity.terms, rate.unbind(-3), strict=True):
        for sign, after, before in TERMS[name].products:
            term, key = coefficient if sign > 0 else -coefficient, (after, before)
            sums[key] = sums[key] + term if key in sums else term
    dense = isinstance(operation, Linear)
    if plasticity.normalized:
        # In a dense layer lengths multiply numbers, which are few, and not whole activities; a
        # convolution, whose activities are multiplied in passing, has fewer operations as it is.
        size = _inverse_length(product, x, part)
        back_size = None if back is None else _inverse_length(product, back, part)
        if not dense:
            seen = seen._replace(post=y * size)
        for after, before in sums:
            power = (DEGREE[after] + (before == "reading") if dense else 0) + (before == "pre")
            sizes = [size] * power
            sizes += [back_size] if before == "back" and back_size is not None else []
            sums[after, before] = reduce(torch.mul, sizes, sums[after, before])
    by_rows = dense and y[..., 0].numel() < y.shape[-1]
    behind = {"pre": x} if back is None else {"pre": x, "back": back}
    if by_rows and any(before == "reading" for _, before in sums):
        matrix = part.mT if isinstance(operation, Right) else part
        behind["reading"] = (y @ matrix).reshape(x.shape)
    for key in [key for key in sums if key[1] not in behind]:
        number, (after, before) = sums.pop(key), key
        factor = POST[after](seen)
        if before == "weight":
            per_unit = number.reshape(()) * factor.reshape(-1, factor.shape[-1]).sum(0)
            found.added.append(_by_unit(product, per_unit, part) * part)
        elif before == "reading":
            found.added.append(_read(product, factor, seen.post, number, part))
    ahead = {after: POST[after](seen) for after, _ in sums}
    _add_products(found, product, _products(sums, ahead, behind), part)
    return found


Numbered = tuple[Tensor | None, Tensor, Tensor]  # a number, left and right, left's units last


def _products(
    sums: Mapping[tuple[str, str], Tensor],
    ahead: Mapping[str, Tensor],
    behind: Mapping[str, Tensor],
) -> list[Numbered]:
    """The sum of `number left' right` in as few products as its factors allow."""
    lefts, rights = (list(dict.fromkeys(key[side] for key in sums)) for side in (0, 1))
    found: list[Numbered] = []
    side, factors = (0, behind) if len(lefts) < len(rights) else (1, ahead)
    for shared in (lefts, rights)[side]:
        parts = [(n, factors[key[1 - side]]) for key, n in sums.items() if key[side] == shared]
        alone = len(parts) == 1
        number = parts[0][0] if alone else None
        other = parts[0][1] if alone else _sum([n * factor for n, factor in parts])
        found.append((number, *((ahead[shared], other) if side == 0 else (other, behind[shared]))))
    return found


def _add_products(
    found: LayerChange, product: Product, products: Sequence[Numbered], part: Tensor
) -> None:
    """Each number multiplies what is smallest; a few rows of all products are one of more rows."""
    if not products:
        return
    operation = product.operation
    rows = products[0][1][..., 0].numel()
    smaller = all(part.numel() < min(left.numel(), right.numel()) for _, left, right in products)
    if smaller and isinstance(operation, Linear):
        for number, left, right in products:
            whole = operation.outer(operation.units_back(left), right, part)
            found.added.append(whole if number is None else number.reshape(()) * whole)
        return
    scaled = [_scaled(*numbered) for numbered in products]
    if isinstance(operation, Linear) and len(scaled) > 1 and rows <= FEW:
        left = torch.cat([a.reshape(-1, a.shape[-1]) for a, _ in scaled])
        right = torch.cat([b.reshape(-1, b.shape[-1]) for _, b in scaled])
        found.blocks = [(left, right)]
    else:
        found.blocks = [(operation.units_back(left), right) for left, right in scaled]


def _scaled(number: Tensor | None, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    if number is None:
        return left, right
    return (number * left, right) if left.numel() <= right.numel() else (left, number * right)


def _sum(terms: Sequence[Tensor]) -> Tensor:
    return reduce(torch.add, terms)


def _read(product: Product, factor: Tensor, y: Tensor, number: Tensor, part: Tensor) -> Tensor:
    """`number factor^T (y W)` as `number (factor^T y) W`: less work where rows are many."""
    operation = product.operation
    whole = operation.matrix(part)  # groups post pre: units of a group read their own
    left, flat = operation.units_back(factor), operation.units_back(y)
    if isinstance(operation, Convolution):  # example by example, which needs no copies
        by_group = [t.reshape(len(t), *whole.shape[:2], -1) for t in (left, flat)]
        inner = (by_group[0] @ by_group[1].mT).sum(0)
    else:
        rows = [t.reshape(-1, t.shape[-1]) for t in (left, flat)]
        inner = (rows[0].mT @ rows[1])[None]
    return operation.unmatrix((number.reshape(()) * inner) @ whole, part)


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
    else:  # of every position the sum over its patch, whatever example and channel it is from
        total = x.square().sum((0, 1), keepdim=True)
        mean = operation.run(total, torch.ones_like(part[:1, :1])).mean() / len(x)
    return (mean + SMALLEST).rsqrt()
