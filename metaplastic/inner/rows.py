"""A lifetime of one-hot labels at a readout, row by row: each example costs one row.

Where the readout is the only plastic site and its signal is the label, an example changes the row
of its class and no other. So the rows of all classes are updated in parallel, each by its own
examples in their order: as many steps as a class has examples, for any number of classes. The
result is that of the steps one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from metaplastic.inner.unroll import Unroll
from metaplastic.objective import CrossEntropy, Objective
from metaplastic.pathways.direct import Direct
from metaplastic.plasticity.base import PlasticityRule
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.stacked.site import Site
from metaplastic.stacked.stack import FastWeights


def runs_by_row(
    rule: LearningRule, sites: Sequence[Site], objective: Objective, how: Unroll, batch: int
) -> bool:
    """Whether a step of `batch` examples changes one row, and its signal is the label alone."""
    pathway = rule.pathway
    return (
        batch == 1
        and len(sites) == 1
        and isinstance(sites[0].module, nn.Linear)
        and type(pathway) is Direct
        and pathway.teaching == "label"
        and pathway.readout == "clamped"
        and type(objective) is CrossEntropy
        and rule.plasticity.promises("by_row")
        and not rule.plasticity.moves_bias
        and how.truncate is None  # which counts steps
    )


def adapt_by_row(
    site: Site,
    plasticity: PlasticityRule,
    rate: Tensor,
    fast: FastWeights,
    x: Tensor,
    y: Tensor,
) -> FastWeights:
    """Examples `tasks steps 1 pre` with labels `tasks steps 1`, in order, from `fast`."""
    name = site.name + ".weight"
    weight = fast[name]
    tasks, outputs = weight.shape[:2]
    row = (torch.arange(tasks, device=y.device)[:, None] * outputs + y[:, :, 0]).flatten()
    taught, which, counts = torch.unique(row, return_inverse=True, return_counts=True)
    rows, inputs = weight.flatten(0, 1), x.flatten(0, 1)
    if rate.shape[0] > 1:
        rate = rate[:, None]

    def after(row: Tensor, pre: Tensor, own: Tensor) -> Tensor:
        """Rows `rows 1 pre` after an example each."""
        label = torch.ones_like(row[..., :1])
        return row + plasticity.delta(row, pre, label, label, own)

    if len(taught) == len(row):  # each has one example: nothing needs an order
        own = rate.index_select(0, row % outputs) if rate.dim() == 3 else rate
        learned = after(rows.index_select(0, row)[:, None], inputs, own)
        return {**fast, name: rows.index_copy(0, row, learned[:, 0]).view_as(weight)}
    # Rows with the most examples first, so that those with examples left are always the first ones.
    ranked = counts.argsort(descending=True, stable=True)
    place = torch.empty_like(ranked)
    place[ranked] = torch.arange(len(ranked), device=y.device)
    by_row = place[which].argsort(stable=True)  # examples, those of a row together and in order
    first = counts[ranked].cumsum(0) - counts[ranked]
    left = rows.index_select(0, taught[ranked])[:, None]  # rows 1 pre
    if rate.dim() == 3:
        rate = rate.index_select(0, (taught % outputs)[ranked])
    finished = []
    for example, learning in enumerate(_rows_left(counts[ranked])):
        finished.append(left[learning:])
        pre = inputs.index_select(0, by_row[first[:learning] + example])  # rows 1 pre
        left = after(left[:learning], pre, rate[:learning] if rate.dim() == 3 else rate)
    finished.append(left)
    learned = torch.cat(finished[::-1])[:, 0]
    return {**fast, name: rows.index_copy(0, taught[ranked], learned).view_as(weight)}


def _rows_left(counts: Tensor) -> list[int]:
    """How many rows have a first example, a second one, ...; `counts` is in descending order."""
    if not len(counts):
        return []
    rows = torch.bincount(counts)  # rows with exactly so many examples
    return (len(counts) - rows.cumsum(0)[:-1]).tolist()
