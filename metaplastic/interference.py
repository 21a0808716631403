"""Interference: what learning one example does to what is known of every other.

At a chosen moment of a lifetime every example is learned on its own, from the weights of that
moment, and the loss on every example is asked again. So each number is exact: nothing is
linearized. The first-order estimate, an inner product of update and gradient, is there to compare,
and stands in where a large network cannot be asked so often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from metaplastic.choices import check_choice
from metaplastic.episode import Episode
from metaplastic.geometry import angles, cosines, effective_rank, overlaps
from metaplastic.lifetimes import evaluating
from metaplastic.stack import FastWeights
from metaplastic.trials import as_long, gradients_of, losses_after, only, rule_updates, sites_of

if TYPE_CHECKING:
    from metaplastic.learner import OnlineLearner

Update = Literal["rule", "gradient"]


@dataclass(frozen=True)
class Interference:
    """What each update would do to each example, at one moment of several lifetimes (`tasks`).

    An example is what one inner step is given: a single picture, or a minibatch.
    """

    after: int  # inner steps that were lived before
    examples: tuple[int, ...]  # which steps of the stream the updates and examples are
    subtask: Tensor  # tasks examples: class or function
    loss: Tensor  # tasks examples: before any update
    tried: tuple[int, ...]  # which of the updates were made and every loss asked again
    exact: Tensor  # tasks tried examples: loss after the update minus `loss`; harm is positive
    updates: Mapping[str, Tensor]  # parameter -> tasks updates *weight
    gradients: Mapping[str, Tensor]  # parameter -> tasks examples *weight, of the example's loss

    @property
    def change(self) -> Tensor:
        """`tasks updates examples`: `exact` if every update was tried, else `first_order`."""
        return self.exact if len(self.tried) == len(self.examples) else self.first_order

    @cached_property
    def first_order(self) -> Tensor:
        """The linear estimate of `change`: the sum over parameters of update times gradient."""
        parts = [
            update.flatten(2) @ self.gradients[name].flatten(2).mT
            for name, update in self.updates.items()
        ]
        return torch.stack(parts).sum(0)

    @property
    def first_order_error(self) -> float:
        """Length of (estimate - exact) over length of exact, of the updates that were tried."""
        estimate = self.first_order[:, list(self.tried)]
        return float((estimate - self.exact).norm() / self.exact.norm())

    def own(self) -> float:
        """Mean change of the loss on the example that was learned: negative if learning works."""
        return self._mean(torch.eye(len(self.examples), dtype=torch.bool))

    def within(self) -> float:
        """Mean change of the loss on other examples of its class or function."""
        return self._mean(self._same & ~torch.eye(len(self.examples), dtype=torch.bool))

    def across(self) -> float:
        """Mean change of the loss on examples of other classes or functions."""
        return self._mean(~self._same)

    def harmed(self) -> float:
        """Share of pairs from different classes whose loss the update raises."""
        worse = (self.change > 0).to(self.change.dtype)
        return _mean_known(worse.where(self.change.isfinite(), torch.nan)[~self._same])

    def by_distance(self) -> tuple[list[int], list[float]]:
        """Mean change against how much later in the stream the example came than the update's.

        Negative distances are the past, which can be forgotten; 0 is the example itself.
        """
        when = torch.tensor(self.examples)
        distance = when[None] - when[:, None]  # updates examples
        every = sorted({int(d) for d in distance.flatten()})
        mean = self.change.mean(0)
        return every, [float(mean[distance == d].mean()) for d in every]

    def sites(self) -> dict[str, dict[str, float]]:
        """The geometry of the updates at every site, means over pairs and lifetimes.

        `cosine_within` and `cosine_across`: of updates for examples of one class, of two;
        `dot_within` and `dot_across`: their dot products, which weigh long updates more;
        `synapses_across`, `units_across`: what updates of two classes both touch, of what either
        touches; `angle`: degrees between the update and the negative gradient of the same
        example; `size`: length of an update; `rank`: effective rank of the sum of all updates.
        """
        same = self._same & ~torch.eye(len(self.examples), dtype=torch.bool)
        found = {}
        for site in sites_of(self.updates):
            moved = [name for name in self.updates if name.rpartition(".")[0] == site]
            rows, against = (
                torch.cat([values[name].flatten(2) for name in moved], -1)
                for values in (self.updates, self.gradients)
            )
            matrices = self.updates[site + ".weight"].flatten(3)  # tasks updates post pre
            cosine, dot, across = cosines(rows), rows @ rows.mT, ~self._same
            found[site] = {
                "cosine_within": _mean_known(cosine[same]),
                "cosine_across": _mean_known(cosine[across]),
                "dot_within": _mean_known(dot[same]),
                "dot_across": _mean_known(dot[across]),
                "synapses_across": _mean_known(overlaps(matrices.flatten(2))[across]),
                "units_across": _mean_known(overlaps(matrices.norm(dim=-1))[across]),
                "angle": _mean_known(angles(rows, -against)),
                "size": _mean_known(rows.norm(dim=-1)),
                "rank": _mean_known(effective_rank(matrices.sum(1))),
            }
        return found

    def summary(self) -> dict[str, Any]:
        """What a table shows, as plain numbers."""
        return {
            "after": self.after, "loss": float(self.loss.mean()), "own": self.own(),
            "within": self.within(), "across": self.across(), "harmed": self.harmed(),
            "first_order_error": self.first_order_error, "sites": self.sites(),
            "tried": len(self.tried), "examples": len(self.examples),
        }  # fmt: skip

    @property
    def _same(self) -> Tensor:
        return self.subtask[:, :, None] == self.subtask[:, None]

    def _mean(self, mask: Tensor) -> float:
        return _mean_known(self.change[mask.expand_as(self.change)])


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
        ValueError: for a learner that is not online, or a moment or site that does not exist.
    """
    check_choice("update", update, Update)
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
    chosen, tried = _spread(count, steps), _spread(tries, count)
    with evaluating(learner, 0):
        support = learner.encode(episodes.support_x.flatten(0, 2))
        support = support.view(*episodes.support_x.shape[:3], *support.shape[1:])
        fast = learner.birth(episodes.support_y, episodes.seed)
        if after:
            fast = learner.adapt(support[:, :after], episodes.support_y[:, :after], fast)
        x, y = support[:, chosen], episodes.support_y[:, chosen]
        loss, gradients = gradients_of(learner, fast, x, y)
        updates = rule_updates(learner, fast, x, y)
        if update == "gradient":
            updates = as_long(gradients, updates)
        if sites is not None:
            updates = only(updates, sites)
        later = [
            losses_after(learner, fast, _picked(updates, tried[first : first + chunk]), x, y)
            for first in range(0, tries, chunk)
        ]
    subtask = episodes.support_subtask[:, chosen, 0]
    change = torch.cat(later, 1) - loss[:, None]
    return Interference(
        after, tuple(chosen), subtask, loss, tuple(tried), change, updates, gradients
    )


def _spread(count: int, over: int) -> list[int]:
    """So many of the first `over` numbers, evenly; the middle one if it is to be one."""
    return [round(i * (over - 1) / (count - 1)) for i in range(count)] if count > 1 else [over // 2]


def _picked(updates: FastWeights, tried: Sequence[int]) -> FastWeights:
    return {name: update[:, list(tried)] for name, update in updates.items()}


def _mean_known(values: Tensor) -> float:
    """The mean of what is not NaN; NaN if there is none."""
    return float(values.nanmean())
