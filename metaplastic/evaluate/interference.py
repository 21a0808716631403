"""Interference: the change of the loss on each example by an update for another example.

At a chosen step of a lifetime each example is learned by itself, from the weights at that step,
and the loss on every example is evaluated again. The changes are exact: nothing is linearized, and
all is computed in float64, so that rounding is negligible. The first-order estimate, the inner
product of update and gradient, is given for comparison, and replaces the exact changes where
evaluating all of them would take too long.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch

from metaplastic.episode import Episode
from metaplastic.evaluate.example_updates import (
    at_sites,
    gradient_steps_of_norm,
    gradients_of,
    losses_after,
    rule_updates,
)
from metaplastic.evaluate.interference_matrix import Interference
from metaplastic.evaluate.lifetime_evaluation import nan_to_inf
from metaplastic.evaluate.lifetimes import evaluating
from metaplastic.stacked.stack import FastWeights
from metaplastic.support.choices import check_choice

if TYPE_CHECKING:
    from metaplastic.inner.learner import OnlineLearner

Update = Literal["rule", "gradient"]


def interference(
    learner: OnlineLearner,
    episodes: Episode,
    *,
    after: int | None = None,
    examples: int | None = None,
    update: Update = "rule",
    sites: Sequence[str] | None = None,
    exact: int | None = None,
    chunk: int = 16,
) -> Interference:
    """The change of every example's loss by every single-example update of these lifetimes.

    Args:
        after: inner steps taken before the measurement; None for all of the stream.
        examples: number of steps of the stream, evenly spaced, to learn from and evaluate on; None
            for all. The time grows with its square.
        update: `rule`, the learner's update; or `gradient`, a step of gradient descent with the
            same norm at every site.
        sites: apply the updates of these sites alone, to attribute interference to them.
        exact: number of updates, evenly spaced, whose changes are computed exactly; None for all.
            With fewer, `change` is the first-order estimate, which costs one gradient per example,
            and its error is measured on the exact ones.
        chunk: updates evaluated at a time.

    Raises:
        ValueError: for a learner that is not online, a step or site that does not exist, or
            minibatches that mix subtasks.
    """
    check_choice("update", update, Update)
    episodes.check()
    steps = episodes.support_x.shape[1]
    after = steps if after is None else after
    if not 0 <= after <= steps:
        raise ValueError(f"after is {after}; choose from 0 to the lifetimes' {steps} steps.")
    if not learner.online:
        raise ValueError(
            "This learner passes through its stream more than once or all at once, so no update "
            "belongs to a single example. Use an online learner."
        )
    count = steps if examples is None else examples
    if not 2 <= count <= steps:
        raise ValueError(f"examples is {count}; choose from 2 to the stream's {steps} steps.")
    exact_count = count if exact is None else exact
    if not 1 <= exact_count <= count:
        raise ValueError(f"exact is {exact}; choose from 1 to {count}, or None for all updates.")
    if chunk < 1:
        raise ValueError(f"chunk is {chunk}; it must be at least 1.")
    if sites is not None and not sites:
        raise ValueError("sites is empty; name at least one, or give None for all of them.")
    if (episodes.support_subtask != episodes.support_subtask[:, :, :1]).any():
        raise ValueError(
            "Some minibatches of these lifetimes mix subtasks, so an update does not belong to one "
            "class or function. Use a stream with batch=1, or one with subtasks in order."
        )
    chosen, measured = _spread(count, steps), _spread(exact_count, count)
    learner, episodes = _in_double(learner, episodes)
    with evaluating(learner, 0):
        support = learner.encode(episodes.support_x.flatten(0, 2))
        support = support.view(*episodes.support_x.shape[:3], *support.shape[1:])
        fast = learner.initialize(episodes.support_y, episodes.seed)
        if after:
            fast = learner.adapt(support[:, :after], episodes.support_y[:, :after], fast)
        x, y = support[:, chosen], episodes.support_y[:, chosen]
        updates = rule_updates(learner, fast, x, y)
        loss, gradients = gradients_of(learner, fast, x, y)
        if update == "gradient":
            updates = gradient_steps_of_norm(gradients, updates)
        if sites is not None:
            updates = at_sites(updates, sites)
        later = [
            losses_after(learner, fast, _selected(updates, measured[first : first + chunk]), x, y)
            for first in range(0, exact_count, chunk)
        ]
    subtask = episodes.support_subtask[:, chosen, 0]
    # The change of a loss that was infinite before is undefined: it counts as infinite.
    change = nan_to_inf(torch.cat(later, 1) - loss[:, None])
    return Interference(
        after, tuple(chosen), subtask, loss, tuple(measured), change, updates, gradients
    )


def _in_double(learner: OnlineLearner, episodes: Episode) -> tuple[OnlineLearner, Episode]:
    """A float64 copy of both, if the device supports float64."""
    device = episodes.support_x.device
    if device.type == "mps":
        return learner, episodes
    return copy.deepcopy(learner).double(), episodes.to(device, torch.float64)


def _spread(count: int, over: int) -> list[int]:
    """`count` of the first `over` numbers, evenly spaced; the middle one if `count` is 1."""
    return [round(i * (over - 1) / (count - 1)) for i in range(count)] if count > 1 else [over // 2]


def _selected(updates: FastWeights, measured: Sequence[int]) -> FastWeights:
    return {name: update[:, list(measured)] for name, update in updates.items()}
