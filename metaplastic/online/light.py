"""A polynomial rule in outer products of whole layers, without the rows of a convolution.

The terms that need no number summed over a synapse's own weights (`Polynomial.light`) are outer
products of something shaped as a site's output with something shaped as its input. So a convolution
computes them as it computes its gradient, and its patches are never made.
"""

from __future__ import annotations

import torch
from torch import Tensor

from metaplastic.plasticity.polynomial import TERMS, LocalQuantities, Polynomial
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.sites.operations import Linear, Right
from metaplastic.sites.products import Product

SMALLEST = 1e-12
FEW = 8  # rows, up to which blocks are put together
Factors = tuple[Product, Tensor, Tensor, float]


def light_parts(
    rule: LearningRule,
    products: list[Product],
    signals: list[Tensor],
    activity: list[Tensor],
    back: list[Tensor],
    weights: dict[str, Tensor],
    gains: list[float],
    batch: int,
) -> tuple[list[Factors], list[tuple[Tensor, Tensor]]]:
    """Parts `scale left^T right` for every product, and what multiplies its weight before.

    The latter as pairs of a view of the weight and what is added to it: decays, and products of the
    weight with what the site reads.
    """
    plasticity = rule.plasticity
    assert isinstance(plasticity, Polynomial)
    coefficients = plasticity.coefficients.detach().tolist()
    parts: list[Factors] = []
    before: list[tuple[Tensor, Tensor]] = []
    scales = _scales(plasticity, products, back)
    for i, product in enumerate(products):
        operation, size, back_size = product.operation, *scales[i]
        y = operation.units_last(activity[i])
        s = operation.units_last(signals[i])
        if size != 1.0:
            y = y * size
        if gains[i] != 1.0:
            s = s * gains[i]
        rate = rule.rate_scale / batch
        if plasticity.averages_positions:
            rate /= max(s[..., 0].numel() // batch, 1)
        seen, behind = LocalQuantities(y, y, y, s, y), dict[str, Tensor]()
        for name, coefficient in zip(plasticity.terms, coefficients, strict=True):
            for what, factor in TERMS[name].factors(seen).items():
                part = coefficient * factor
                behind[what] = behind[what] + part if what in behind else part
        view = product.view(weights[product.site])
        blocks: list[tuple[Tensor, Tensor]] = []
        if "pre" in behind:
            blocks.append((_scaled(behind["pre"], size), product.x))
        if "back" in behind:
            blocks.append((_scaled(behind["back"], back_size), back[i]))
        if "reading" in behind:
            blocks += _reading(product, behind["reading"], y, view, before, rate)
        if "weight" in behind:
            per_unit = behind["weight"].reshape(-1, behind["weight"].shape[-1]).sum(0)
            before.append((view, rate * _by_unit(product, per_unit) * view))
        parts += _joined(product, blocks, rate)
    return parts, before


def _scaled(factor: Tensor, size: float) -> Tensor:
    return factor if size == 1.0 else factor * size


def _joined(product: Product, blocks: list[tuple[Tensor, Tensor]], rate: float) -> list[Factors]:
    """All blocks of a product; as one where it is rather weights than rows that cost."""
    operation = product.operation
    few = blocks and blocks[0][0][..., 0].numel() <= FEW
    if isinstance(operation, Linear) and len(blocks) > 1 and few:
        left = torch.cat([a.reshape(-1, a.shape[-1]) for a, _ in blocks])
        right = torch.cat([b.reshape(-1, b.shape[-1]) for _, b in blocks])
        return [(product, left, right, rate)]
    return [(product, operation.units_back(left), right, rate) for left, right in blocks]


def _reading(
    product: Product,
    factor: Tensor,
    y: Tensor,
    view: Tensor,
    before: list[tuple[Tensor, Tensor]],
    rate: float,
) -> list[tuple[Tensor, Tensor]]:
    """`factor^T (y W)`: by rows where they are few, else as `(factor^T y) W`."""
    operation = product.operation
    left, flat = factor.reshape(-1, factor.shape[-1]), y.reshape(-1, y.shape[-1])
    if isinstance(operation, Linear) and len(flat) < flat.shape[1]:
        matrix = view.mT if isinstance(operation, Right) else view
        return [(left, flat @ matrix)]
    whole = operation.matrix(view)
    if len(whole) > 1:  # groups: units of a group read their own
        by_group = (t.reshape(len(t), len(whole), -1).transpose(0, 1) for t in (left, flat))
        mixed = torch.bmm(next(by_group).mT, next(by_group)) @ whole
    else:
        mixed = ((left.mT @ flat) @ whole[0])[None]
    before.append((view, rate * operation.unmatrix(mixed, view)))
    return []


def _by_unit(product: Product, per_unit: Tensor) -> Tensor:
    """A number for each unit, where it multiplies the weight."""
    if isinstance(product.operation, Right):
        return per_unit
    return per_unit.reshape(-1, *[1] * (product.weight.dim() - 1))


def _scales(
    plasticity: Polynomial, products: list[Product], back: list[Tensor]
) -> list[tuple[float, float]]:
    """1 over the length of each input, and of what its presynaptic units receive."""
    if not plasticity.normalized:
        return [(1.0, 1.0)] * len(products)
    lengths = [_square_length(p, p.x) for p in products]
    lengths += [_square_length(p, b) for p, b in zip(products, back, strict=False)]
    found = torch.stack(lengths).tolist()
    sizes = [(n + SMALLEST) ** -0.5 for n in found]
    of_back = sizes[len(products) :] or [1.0] * len(products)
    return list(zip(sizes[: len(products)], of_back, strict=True))


def _square_length(product: Product, x: Tensor) -> Tensor:
    """The mean over rows of the squared length of what meets the synapses."""
    if isinstance(product.operation, Linear):
        return x.square().sum() / (x.numel() // x.shape[-1])
    weight = product.weight.detach()
    one = torch.ones_like(weight[:1])
    if len(product.operation.matrix(weight)) > 1:
        rows = product.operation.pre_rows(x, weight)
        return rows.square().sum(-1).mean()
    patches = product.operation.run(x.square(), one)
    return patches.mean()
