"""Interference: what learning one example does to what is known of every other.

At a chosen moment of a lifetime every example is learned on its own, from the weights of that
moment, and the loss on every example is asked again. So each number is exact: nothing is
linearized, and all of it is in float64, where a small change is no rounding error. The
first-order estimate, an inner product of update and gradient, is there to compare, and stands
in where a large network cannot be asked so often.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch

from metaplastic.episode import Episode
from metaplastic.evaluate.example_updates import (
    as_long,
    gradients_of,
    losses_after,
    only,
    rule_updates,
)
from metaplastic.evaluate.interference_matrix import Interference
from metaplastic.evaluate.lifetime_evaluation import counted
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
    """Try every update of these lifetimes on its own and ask every loss again.

    Args:
        after: how many steps of the stream are lived before; None for all of it.
        examples: how many steps of the stream, evenly spread, to learn from and ask about; None
            for all. The time to try all updates grows with its square.
        update: `rule`, what the learner does; or `gradient`, what backpropagation through the same
            weights would do with updates that are as long at every site.
        sites: apply only the changes of these sites, to see which of them interferes.
        exact: how many of the updates, evenly spread, are tried; None for all. With fewer, `change`
            is the first-order estimate, which costs one gradient an example, and its error is
            measured on those that were tried.
        chunk: updates whose consequences are held in memory at a time.

    Raises:
        ValueError: for a learner that is not online, a moment or site that does not exist, or
            minibatches of several subtasks, which are of no one class or function.
    """
    check_choice("update", update, Update)
    episodes.check()
    steps = episodes.support_x.shape[1]
    after = steps if after is None else after
    if not 0 <= after <= steps:
        raise ValueError(f"after is {after}; these lifetimes have 0 to {steps} steps to live.")
    if not learner.online:
        raise ValueError(
            "This learner goes through its stream more than once or all at once, so no update is "
            "that of one example. Use an online learner."
        )
    count = steps if examples is None else examples
    if not 2 <= count <= steps:
        raise ValueError(f"examples is {count}; choose from 2 to the stream's {steps} steps.")
    tries = count if exact is None else exact
    if not 1 <= tries <= count:
        raise ValueError(f"exact is {exact}; choose from 1 to {count}, or None to try all updates.")
    if chunk < 1:
        raise ValueError(f"chunk is {chunk}; at least 1 update is tried at a time.")
    if sites is not None and not sites:
        raise ValueError("sites is empty; name at least one, or None for all of them.")
    if (episodes.support_subtask != episodes.support_subtask[:, :, :1]).any():
        raise ValueError(
            "Some minibatches of these lifetimes mix subtasks, so an update is not that of one "
            "class or function. Use a stream with batch=1, or one that brings subtasks in order."
        )
    chosen, tried = _spread(count, steps), _spread(tries, count)
    learner, episodes = _in_double(learner, episodes)
    with evaluating(learner, 0):
        support = learner.encode(episodes.support_x.flatten(0, 2))
        support = support.view(*episodes.support_x.shape[:3], *support.shape[1:])
        fast = learner.birth(episodes.support_y, episodes.seed)
        if after:
            fast = learner.adapt(support[:, :after], episodes.support_y[:, :after], fast)
        x, y = support[:, chosen], episodes.support_y[:, chosen]
        updates = rule_updates(learner, fast, x, y)
        loss, gradients = gradients_of(learner, fast, x, y)
        if update == "gradient":
            updates = as_long(gradients, updates)
        if sites is not None:
            updates = only(updates, sites)
        later = [
            losses_after(learner, fast, _picked(updates, tried[first : first + chunk]), x, y)
            for first in range(0, tries, chunk)
        ]
    subtask = episodes.support_subtask[:, chosen, 0]
    # By how much a loss that was lost before gets worse is not known: it counts as lost.
    change = counted(torch.cat(later, 1) - loss[:, None])
    return Interference(
        after, tuple(chosen), subtask, loss, tuple(tried), change, updates, gradients
    )


def _in_double(learner: OnlineLearner, episodes: Episode) -> tuple[OnlineLearner, Episode]:
    """A copy of both in float64, where the device has it."""
    device = episodes.support_x.device
    if device.type == "mps":
        return learner, episodes
    return copy.deepcopy(learner).double(), episodes.to(device, torch.float64)


def _spread(count: int, over: int) -> list[int]:
    """So many of the first `over` numbers, evenly; the middle one if it is to be one."""
    return [round(i * (over - 1) / (count - 1)) for i in range(count)] if count > 1 else [over // 2]


def _picked(updates: FastWeights, tried: Sequence[int]) -> FastWeights:
    return {name: update[:, list(tried)] for name, update in updates.items()}
