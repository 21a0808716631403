"""The same step for the rules that are used most: written straight into the weights.

A change that is an outer product of rank `rows` need not exist as a matrix: it is added to the
weight (and, where feedback gets every change, to the feedback) by one matrix product each. All
sizes that a rule needs, and whether everything is finite, are read off norms, in one look.
`inner.changes` is the general form, and what a step without this file would do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from metaplastic.alignment.kolen_pollack import KolenPollackAlignment
from metaplastic.inner.layer_change import in_whole_layers, layer_change
from metaplastic.inner.step import leveling
from metaplastic.plasticity.polynomial import Polynomial
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.sites.operations import Linear, Right
from metaplastic.sites.products import Product
from metaplastic.sites.views import IN_PLACE

FEW = 4  # rows, up to which an outer product is cheaper computed twice than kept
KINDS = (torch.float32, torch.float64)  # the norm of half numbers may overflow


@dataclass(slots=True)
class Part:
    """`scale left^T right`, summed over examples and positions, for one product's weight.

    `left` is shaped as the output, `right` as the input.
    """

    product: Product
    left: Tensor
    right: Tensor
    scale: float
    outer: Tensor | None = None  # `left^T right`, where it is there already


def serves(rule: LearningRule, products: list[Product], computed: bool) -> bool:
    """Whether this file knows the rule, and every synapse is met once in this step."""
    plasticity, alignment = rule.plasticity, rule.alignment
    follows = not alignment.sees_change or (
        type(alignment) is KolenPollackAlignment
        and not (alignment.learn or alignment.noise)
        and alignment.options["gain"] == 1
    )
    whole = in_whole_layers(plasticity, products)
    if computed or plasticity.traces or not follows:
        return False
    if not (whole or (plasticity.promises("outer") and type(plasticity) is not Polynomial)):
        return False
    if any(view.name not in IN_PLACE for p in products for view in p.source.views):
        return False
    once = len({product.site for product in products if not product.source.views})
    single = once == sum(1 for product in products if not product.source.views)
    return single and all(product.weight.dtype in KINDS for product in products)


def gains(
    rule: LearningRule, signals: list[Tensor], products: list[Product], teaching: Tensor
) -> list[float]:
    """What each signal is multiplied by to have the length of the output's error."""
    if not rule.pathway.level:
        return [1.0] * len(signals)
    lengths = torch.stack(torch._foreach_norm([teaching, *signals])).tolist()
    rows = [_rows(p, s) for p, s in zip(products, signals, strict=True)]
    classes = teaching.shape[1 if teaching.dim() > 3 else -1]
    error = _inverse_length(lengths[0], teaching.numel() // classes)
    return [_inverse_length(n, r) / error for n, r in zip(lengths[1:], rows, strict=True)]


def _rows(product: Product, signal: Tensor) -> int:
    return product.operation.units_last(signal)[..., 0].numel()


def _inverse_length(norm: float, rows: int) -> float:
    return (norm * norm / rows + 1e-12) ** -0.5 if math.isfinite(norm) else norm


def outer_parts(
    products: list[Product],
    signals: list[Tensor],
    scales: list[float],
    outers: Mapping[int, Tensor],
) -> list[Part]:
    """The parts of a rule whose change is `rate` times the outer product of signal and input."""
    return [
        Part(p, s, p.x, scale, outers.get(p.number))
        for p, s, scale in zip(products, signals, scales, strict=True)
    ]


def not_finite(
    parts: list[Part], more: list[tuple[str, Tensor, float]], loss: Tensor
) -> str | None:
    """The name of what is not finite, or would not be, in one look; None if all is.

    An entry of `left^T right` is at most the product of their norms.
    """
    tensors = [t for part in parts for t in (part.left, part.right)]
    tensors += [tensor for _, tensor, _ in more]
    norms = torch._foreach_norm(tensors)
    one_kind = all(norm.dtype == loss.dtype for norm in norms)
    looked = norms if one_kind else [norm.to(loss.dtype) for norm in norms]
    found = torch.stack([loss.reshape(()), *looked]).tolist()
    if not math.isfinite(found[0]):
        return ""
    bound = torch.finfo(parts[0].left.dtype).max if parts else math.inf
    for i, part in enumerate(parts):
        size = found[1 + 2 * i] * found[2 + 2 * i] * abs(part.scale)
        if not size <= bound:
            return part.product.site
    for (name, _, scale), norm in zip(more, found[1 + 2 * len(parts) :], strict=True):
        if not norm * abs(scale) <= bound:
            return name
    return None


def write(part: Part, *weights: Tensor) -> None:
    """Add a part to a weight, and to feedback of its shape, in place."""
    product, operation = part.product, part.product.operation
    views = [product.view(weight) for weight in weights]
    if not isinstance(operation, Linear):
        change = part.outer
        if change is None:
            change = operation.outer(part.left, part.right, views[0])
        for view in views:
            view.add_(change, alpha=part.scale)
        return
    left = part.left.reshape(-1, part.left.shape[-1])
    right = part.right.reshape(-1, part.right.shape[-1])
    if isinstance(operation, Right):
        left, right = right, left
    if len(left) > FEW and len(views) > 1:
        change = left.mT @ right  # computed once, added twice
        for view in views:
            view.add_(change, alpha=part.scale)
    else:
        for view in views:
            view.addmm_(left.mT, right, alpha=part.scale)


def parts_of(
    rule: LearningRule,
    products: list[Product],
    signals: list[Tensor],
    activity: list[Tensor],
    back: Callable[[list[Tensor] | None], list[Tensor]],
    weights: dict[str, Tensor],
    rates: Mapping[str, Tensor],
    numbers: dict[str, float],
    teaching: Tensor,
    outers: Mapping[int, Tensor],
) -> tuple[list[Part], list[tuple[Product, Tensor]], list[Tensor], list[float]]:
    """What is added to each weight; whole changes of some; the signals, and their gains."""
    if isinstance(rule.plasticity, Polynomial):
        level: list[Tensor] | None = None
        if rule.pathway.level:
            level = [leveling(p, s, teaching) for p, s in zip(products, signals, strict=True)]
            signals = [s * by for s, by in zip(signals, level, strict=True)]
        received = back(level)
        parts, whole = _of_layers(
            rule, products, signals, activity, received, weights, rates, len(teaching)
        )
        return parts, whole, signals, [1.0] * len(products)
    gained = gains(rule, signals, products, teaching)
    scales = [numbers[p.site + ".weight"] * g for p, g in zip(products, gained, strict=True)]
    if rule.plasticity.averages_positions:
        positions = [_rows(p, s) // len(teaching) for p, s in zip(products, signals, strict=True)]
        scales = [s / n for s, n in zip(scales, positions, strict=True)]
    return outer_parts(products, signals, scales, outers), [], signals, gained


def _of_layers(
    rule: LearningRule,
    products: list[Product],
    signals: list[Tensor],
    activity: list[Tensor],
    back: list[Tensor],
    weights: dict[str, Tensor],
    rates: Mapping[str, Tensor],
    batch: int,
) -> tuple[list[Part], list[tuple[Product, Tensor]]]:
    """The parts of a polynomial, and its changes that are no outer products."""
    parts: list[Part] = []
    whole: list[tuple[Product, Tensor]] = []
    for i, product in enumerate(products):
        rate, view = rates[product.site + ".weight"], product.view(weights[product.site])
        if rule.plasticity.averages_positions:
            rate = rate / max(_rows(product, signals[i]) // batch, 1)
        found = layer_change(
            rule.plasticity, product, signals[i], activity[i], back[i] if back else None, view, rate
        )
        parts += [Part(product, left, right, 1.0) for left, right in found.blocks]
        whole += [(product, added) for added in found.added]
    return parts, whole
