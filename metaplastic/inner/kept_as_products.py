"""Lifetimes whose changes are kept as the outer products that they are, where these are few.

Exact, to rounding: a weight that is `W + sum of s x^T` is multiplied by its parts. It is worth it
where the examples of a lifetime are few beside the units, as in an inner loop of a few steps of
gradient descent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from metaplastic.inner.written_out import WrittenOut
from metaplastic.objective import MeanSquaredError
from metaplastic.pathways.carried_back import Backprop
from metaplastic.stacked.low_rank import LowRank

if TYPE_CHECKING:
    from metaplastic.inner.learner import OnlineLearner


def kept_as_products(learner: OnlineLearner, examples: int) -> dict[str, Any]:
    """The weights that are kept so, by name, as they are when a lifetime of `examples` starts."""
    executor, rule, how = learner.executor, learner.rule, learner.unroll
    if not isinstance(executor, WrittenOut) or type(rule.pathway) is not Backprop:
        return {}
    sites, plasticity = executor.sites, rule.plasticity
    outer = plasticity.promises("outer") and not plasticity.two_sided
    in_parts = how.compile or how.truncate is not None or how.checkpoint_every is not None
    in_blocks = len(sites) == 1 and type(learner.objective) is MeanSquaredError
    if not outer or plasticity.per == "synapse" or in_parts or in_blocks:
        return {}
    start = learner.initialization if learner.training else learner.initialization_at_test
    rows = examples * learner.passes
    return {
        site.name + ".weight": LowRank(site.module.weight)
        for site in sites
        if type(site.module) is nn.Linear
        and (start.readout if site is sites[-1] else start.hidden) == "learned"
        and rows * sum(site.shape) < site.shape[0] * site.shape[1]
    }
