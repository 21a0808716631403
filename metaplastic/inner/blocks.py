"""Lifetimes of a readout in blocks of steps: where a step is linear in the weights, no loop.

Two rules of a readout that learns alone, from inputs that do not depend on what it learned:

- Its activity is clamped to a one-hot label. An example then changes the row of its class, which
  keeps a share of itself that does not depend on the input: n examples later n shares of what an
  example added are left. All examples are added at once, each times its share.
- It is taught its error, `e = y - W x`, and changes by `W + c e (r x)^T`, r a rate for each input.
  The errors within a block of steps solve a triangular system, so a block costs a few products of
  matrices: the chunkwise form of the delta rule (Yang et al. 2024, arXiv:2406.06484).

The result is that of the steps one by one, to rounding, and nothing is read from the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from metaplastic.inner.rows import adapt_by_row
from metaplastic.inner.unroll import Unroll
from metaplastic.objective import CrossEntropy, MeanSquaredError, Objective
from metaplastic.pathways.carried_back import Backprop
from metaplastic.pathways.direct import Direct
from metaplastic.plasticity.base import PlasticityRule
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.stacked.readouts import Readout
from metaplastic.stacked.site import Site
from metaplastic.stacked.stack import FastWeights

BLOCK = 128  # examples; fastest of 64 to 256 for 600 outputs of 256 inputs
# Examples of the most frequent class up to which a loop over them (`inner.rows`) is the quicker way
# on a processor, where finding out costs nothing: no powers are computed.
FEW = 500


class InBlocks(Protocol):
    """The weights after examples `tasks steps batch ...` with their targets, in order."""

    def __call__(self, fast: FastWeights, x: Tensor, y: Tensor) -> FastWeights: ...


def blocks_of(
    rule: LearningRule,
    site: Site,
    is_last: bool,
    objective: Objective,
    coefficients: Mapping[str, Tensor],
    how: Unroll,
    batch: int,
) -> InBlocks | None:
    """How the lifetimes of one site are run in blocks, or None where they are not.

    Args:
        is_last: whether the site is the last layer of its network.
        coefficients: the rule's, of this site.
        batch: examples in a step.
    """
    pathway, plasticity = rule.pathway, rule.plasticity
    if not isinstance(site.module, nn.Linear) or how.truncate is not None:
        return None
    clamped = type(pathway) is Direct and pathway.readout == "clamped"
    if clamped and pathway.teaching == "label":
        fits = batch == 1 and type(objective) is CrossEntropy and not plasticity.moves_bias
        if not (fits and plasticity.promises("linear")):
            return None
        return partial(clamped_to_labels, site, plasticity, coefficients[site.name + ".weight"])
    rates = [coefficients[name] for name in site_parameters(site) if name in coefficients]
    exact = type(pathway) is Backprop and pathway.second_order
    taught = exact or (clamped and not pathway.detach_error)
    by_input = rates[0].shape[-2] == 1 and all(rate.numel() == 1 for rate in rates[1:])
    product = is_last and not isinstance(site.module, Readout)
    if not (taught and by_input and product and type(objective) is MeanSquaredError):
        return None
    if not plasticity.promises("outer"):
        return None
    slope = 2 / objective.outputs if exact else 1.0
    return partial(taught_errors, site, [slope * rate for rate in rates])


def site_parameters(site: Site) -> list[str]:
    """The names of its weight and, if it has one, its bias."""
    return [f"{site.name}.{kind}" for kind, _ in site.module.named_parameters()]


def clamped_to_labels(
    site: Site, plasticity: PlasticityRule, rate: Tensor, fast: FastWeights, x: Tensor, y: Tensor
) -> FastWeights:
    """Examples `tasks steps 1 pre` with labels `tasks steps 1`, from `fast`."""
    name = site.name + ".weight"
    weight = fast[name]
    tasks, outputs = weight.shape[:2]
    rows = (torch.arange(tasks, device=y.device)[:, None] * outputs + y[:, :, 0]).flatten()
    if rows.device.type == "cpu" and len(rows) and int(rows.bincount().max()) <= FEW:
        return adapt_by_row(site, plasticity, rate, fast, x, y)
    order = rows.argsort(stable=True)  # examples of a row together and in order
    rows, pre = rows[order], x.flatten(0, 1).index_select(0, order)  # examples 1 pre
    counts = torch.zeros_like(weight[..., 0], dtype=torch.int64).flatten()
    counts = counts.scatter_add(0, rows, torch.ones_like(rows))
    number = torch.arange(len(rows), device=y.device)
    later = counts.cumsum(0)[rows] - 1 - number  # examples of the same row after this one

    def of_row(value: Tensor) -> Tensor:
        return value.index_select(0, rows % outputs)[:, None] if len(value) > 1 else value

    label = torch.ones_like(pre[..., :1])
    added = plasticity.delta(torch.zeros_like(pre), pre, label, label, of_row(rate))
    flat = weight.flatten(0, 1)
    if not plasticity.promises("outer"):
        share = _share_kept(plasticity, rate)
        added = added * of_row(share) ** later[:, None, None].to(pre.dtype)
        if len(rows) < len(flat):  # few rows change
            before = flat.index_select(0, rows)[:, None]
            kept = (of_row(share) ** counts[rows][:, None, None].to(pre.dtype) - 1) * before
            first = later == counts[rows] - 1
            added = added + torch.where(first[:, None, None], kept, 0.0)
        else:
            kept = share ** counts.view(tasks, outputs, 1).to(pre.dtype)
            flat = (weight * kept).flatten(0, 1)
    return {**fast, name: flat.index_add(0, rows, added[:, 0]).view_as(weight)}


def _share_kept(plasticity: PlasticityRule, rate: Tensor) -> Tensor:
    """The factor that a step leaves of a weight, shaped as the rate: a step without an input."""
    posts, pres = rate.shape
    label, silent = rate.new_ones(1, 1, posts), rate.new_zeros(1, 1, pres)
    weight = torch.ones_like(rate)[None]
    return 1 + plasticity.delta(weight, silent, label, label, rate)[0]


def taught_errors(
    site: Site, rates: list[Tensor], fast: FastWeights, x: Tensor, y: Tensor
) -> FastWeights:
    """Examples `tasks steps batch pre` with targets `tasks steps batch outputs`, from `fast`.

    `rates` are those of the weight, `1 pre` or `1 1`, and of the bias, of one number, if it moves.
    """
    names = site_parameters(site)[: len(rates)]
    weight, rate = fast[names[0]], rates[0]
    steps, batch = x.shape[1:3]
    inputs, targets = x.flatten(1, 2), y.to(weight.dtype).flatten(1, 2)
    if len(site_parameters(site)) > len(rates):  # a bias that stays
        targets = targets - _bias(fast[site.name + ".bias"], weight)
    elif len(rates) > 1:  # a bias is the weight of an input of 1
        inputs = torch.cat([inputs, torch.ones_like(inputs[..., :1])], -1)
        weight = torch.cat([weight, _bias(fast[names[1]], weight).mT], -1)
        rate = torch.cat([rate.expand(1, x.shape[-1]), rates[1].reshape(1, 1)], -1)
    shared = rate.numel() == 1  # then the error is multiplied, and inputs may go without gradient
    keys = inputs if shared else inputs * rate
    size = max(batch, BLOCK // batch * batch)
    number = torch.arange(size, device=x.device) // batch
    earlier = (number[:, None] > number).to(weight.dtype)
    blocks = zip(*(torch.split(t, size, 1) for t in (inputs, keys, targets)), strict=True)
    for pre, key, target in blocks if steps else ():
        count = pre.shape[1]
        among = torch.bmm(pre, key.mT) * earlier[:count, :count]
        among = among * rate if shared else among
        error = torch.linalg.solve_triangular(
            among, target - torch.bmm(pre, weight.mT), upper=False, unitriangular=True
        )
        weight = torch.baddbmm(weight, (error * rate if shared else error).mT, key)
    if len(rates) == 1:
        return {**fast, names[0]: weight}
    return {**fast, names[0]: weight[..., :-1], names[1]: weight[..., -1]}


def _bias(bias: Tensor, weight: Tensor) -> Tensor:
    """A bias as `tasks 1 post`."""
    return bias.expand(weight.shape[0], weight.shape[1])[:, None]
