"""The change of one weight, or of a part of it, from the signals at the products that use it.

By the shortest way that the rule allows: the outer product of a whole layer, outer products of
whole layers (`layer_change`), or the rows that meet the synapses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metaplastic.inner.layer_change import in_whole_layers, layer_change
from metaplastic.plasticity.base import PlasticityRule
from metaplastic.sites.products import Product
from metaplastic.sites.shape import SiteShape


@dataclass
class Signals:
    """The quantities of a step, product by product."""

    products: Sequence[Product]
    signals: Sequence[Tensor]  # at the outputs
    activity: Sequence[Tensor]  # shaped as the outputs; empty where no rule reads it
    back: Sequence[Tensor]  # what presynaptic units receive, shaped as the inputs; or empty
    pushes: Mapping[str, Tensor]  # of other parameters
    batch: int


def change_of_part(
    plasticity: PlasticityRule,
    shape: SiteShape,
    numbers: list[int],
    part: Tensor,
    traces: Mapping[str, Tensor],
    step: Tensor,
    rate: Tensor,
    seen: Signals,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The change of `part`, and the traces after it, shaped as it is.

    Args:
        numbers: of the products that use this part of the weight.
        rate: of the whole site.
    """
    product = seen.products[numbers[0]]
    as_sums = not plasticity.averages_positions
    if as_sums and not traces:
        signed = plasticity.promises("sign_of_outer")
        if signed or plasticity.promises("outer"):
            sums = _outer(seen, numbers, part)
            change = _as_weight(rate, shape, product) * (sums.sign() if signed else sums)
            return change, {}
    if len(numbers) == 1 and in_whole_layers(plasticity, [product]):
        return _of_layer(plasticity, numbers[0], part, rate, seen), {}
    operation, matrix = product.operation, product.operation.matrix(part)
    own = {trace: operation.matrix(value) for trace, value in traces.items()}
    kept: dict[str, Tensor] = {}
    if as_sums and plasticity.promises("of_outer"):
        local = _as_matrix(rate, shape, product)
        sums = operation.matrix(_outer(seen, numbers, part))
        moved, kept = plasticity.from_outer(matrix, sums, local, own, step)
    else:
        rows = _rows(seen, numbers, part)
        positions = rows["signal"].shape[1] // seen.batch
        if plasticity.averages_positions and positions > 1 and not plasticity.relative:
            rate = rate / positions
        local = _as_matrix(rate, shape, product)
        back = rows.pop("back", None)
        if traces:
            moved, kept = plasticity.delta_with_traces(
                matrix, rate=local, traces=own, step=step, **rows
            )
        elif plasticity.two_sided and back is not None:
            moved = plasticity.two_sided_delta(matrix, rate=local, back=back, **rows)
        else:
            moved = plasticity.delta(matrix, rate=local, **rows)
    after = {trace: operation.unmatrix(value, part) for trace, value in kept.items()}
    return operation.unmatrix(moved, part), after


def _outer(seen: Signals, numbers: list[int], part: Tensor) -> Tensor:
    """The outer product of signal and input by the operation itself, which needs no rows."""
    outer = [
        seen.products[n].operation.outer(seen.signals[n], seen.products[n].x, part) for n in numbers
    ]
    return outer[0] if len(outer) == 1 else torch.stack(outer).sum(0)


def _of_layer(
    plasticity: PlasticityRule, number: int, part: Tensor, rate: Tensor, seen: Signals
) -> Tensor:
    """The change by one product, as outer products of a whole layer."""
    product, signal = seen.products[number], seen.signals[number]
    positions = product.operation.units_last(signal)[..., 0].numel() // seen.batch
    if plasticity.averages_positions and positions > 1:
        rate = rate / positions
    back = seen.back[number] if seen.back else None
    activity = seen.activity[number].reshape(signal.shape)
    found = layer_change(plasticity, product, signal, activity, back, part, rate)
    return found.whole(product, part)


def _rows(seen: Signals, numbers: list[int], part: Tensor) -> dict[str, Tensor]:
    def gathered(of: Callable[[Product, int], Tensor]) -> Tensor:
        rows = [of(seen.products[n], n) for n in numbers]
        return rows[0] if len(rows) == 1 else torch.cat(rows, 1)

    def post(tensors: Sequence[Tensor]) -> Tensor:
        return gathered(
            lambda p, n: p.operation.post_rows(tensors[n].reshape(seen.signals[n].shape), part)
        )

    found = {
        "pre": gathered(lambda p, n: p.operation.pre_rows(p.x, part)),
        "signal": post(seen.signals),
    }
    found["post"] = post(seen.activity) if seen.activity else torch.zeros_like(found["signal"])
    if seen.back:
        found["back"] = gathered(
            lambda p, n: p.operation.pre_rows(seen.back[n].reshape(p.x.shape), part)
        )
    return found


def _as_matrix(rate: Tensor, shape: SiteShape, product: Product) -> Tensor:
    """A site's rates, broadcastable to a product's `groups post pre`."""
    if rate.dim() > 2 or rate.numel() == 1:  # one for all, or one for each term of a polynomial
        return rate
    return product.operation.matrix(product.view(shape.as_weight(rate)))


def _as_weight(rate: Tensor, shape: SiteShape, product: Product) -> Tensor:
    """A site's rates in the shape of the part of the weight that a product uses."""
    return rate.reshape(()) if rate.numel() == 1 else product.view(shape.as_weight(rate))
