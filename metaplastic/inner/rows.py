"""A lifetime of one-hot lessons to a readout, row by row: each lesson costs one row.

Where the readout is the only plastic site and the label its only news, a lesson changes the row of
its class and no other. So the rows of all classes can be brought forward side by side, each
through its own lessons in their order: as many steps as a class has lessons, however many classes
there are. The result is that of the steps one by one.
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


def teaches_rows(
    rule: LearningRule, sites: Sequence[Site], objective: Objective, how: Unroll, batch: int
) -> bool:
    """Whether a step of `batch` examples changes one row and is told nothing but its label."""
    feedback = rule.pathway
    return (
        batch == 1
        and len(sites) == 1
        and isinstance(sites[0].module, nn.Linear)
        and type(feedback) is Direct
        and feedback.teaching == "label"
        and feedback.readout == "clamped"
        and type(objective) is CrossEntropy
        and rule.plasticity.promises("by_row")
        and not rule.plasticity.moves_bias
        and how.truncate is None  # which counts steps
        and not how.compile
    )


def live_by_row(
    site: Site,
    plasticity: PlasticityRule,
    rate: Tensor,
    fast: FastWeights,
    x: Tensor,
    y: Tensor,
) -> FastWeights:
    """Lessons `tasks steps 1 pre` with labels `tasks steps 1`, in order, from `fast`."""
    name = site.name + ".weight"
    weight = fast[name]
    tasks, outputs = weight.shape[:2]
    row = (torch.arange(tasks, device=y.device)[:, None] * outputs + y[:, :, 0]).flatten()
    taught, which, lessons = torch.unique(row, return_inverse=True, return_counts=True)
    # Rows with the most lessons first, so that those still learning are always the first few.
    ranked = lessons.argsort(descending=True, stable=True)
    place = torch.empty_like(ranked)
    place[ranked] = torch.arange(len(ranked), device=y.device)
    by_row = place[which].argsort(stable=True)  # all lessons, those of a row together and in order
    first = lessons[ranked].cumsum(0) - lessons[ranked]
    inputs = x.flatten(0, 1)
    rows = weight.flatten(0, 1).index_select(0, taught[ranked])[:, None]  # rows 1 pre
    if rate.shape[0] > 1:
        rate = rate.index_select(0, (taught % outputs)[ranked])[:, None]
    finished = []
    for lesson, learning in enumerate(_still_learning(lessons[ranked])):
        finished.append(rows[learning:])
        rows = rows[:learning]
        pre = inputs.index_select(0, by_row[first[:learning] + lesson])  # rows 1 pre
        told = torch.ones_like(rows[..., :1])
        own = rate[:learning] if rate.dim() == 3 else rate
        rows = rows + plasticity.delta(rows, pre, told, told, own)
    finished.append(rows)
    learned = torch.cat(finished[::-1])[:, 0]
    whole = weight.flatten(0, 1).index_copy(0, taught[ranked], learned)
    return {**fast, name: whole.view_as(weight)}


def _still_learning(lessons: Tensor) -> list[int]:
    """How many rows have a first lesson, a second one, ...; `lessons` falls from row to row."""
    if not len(lessons):
        return []
    count = torch.bincount(lessons)  # rows of exactly so many lessons
    return (len(lessons) - count.cumsum(0)[:-1]).tolist()
