"""The interference matrix: the change of each example's loss by each example's update.

Tables and figures of interference are derived from it and from its updates and gradients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from metaplastic.evaluate.example_updates import sites_of
from metaplastic.evaluate.geometry import angles, cosines, effective_rank, overlaps
from metaplastic.evaluate.lifetime_evaluation import nan_to_inf
from metaplastic.support.renamed import warn_renamed


@dataclass(frozen=True)
class Interference:
    """Changes of losses by single-example updates, at one step of several lifetimes (`tasks`).

    An example is the input of one inner step: a single image, or a minibatch.
    """

    after: int  # inner steps taken before
    examples: tuple[int, ...]  # the steps of the stream that are measured
    subtask: Tensor  # tasks examples: class or function
    loss: Tensor  # tasks examples: before any update
    measured: tuple[int, ...]  # the updates whose changes are exact
    exact: Tensor  # tasks measured examples: loss after the update minus `loss`
    updates: Mapping[str, Tensor]  # parameter -> tasks updates *weight
    gradients: Mapping[str, Tensor]  # parameter -> tasks examples *weight, of the example's loss

    @property
    def change(self) -> Tensor:
        """`tasks updates examples`: `exact` if it has every update, else `first_order`."""
        is_exact = len(self.measured) == len(self.examples)
        return self.exact if is_exact else nan_to_inf(self.first_order)

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
        """Norm of (estimate - exact) over norm of exact, of the updates in `exact`."""
        estimate = self.first_order[:, list(self.measured)]
        return float((estimate - self.exact).norm() / self.exact.norm())

    @property
    def diverged(self) -> int:
        """The number of lifetimes with an infinite loss before or after an update."""
        return int(self.change.isinf().flatten(1).any(1).sum())

    def same_example(self) -> float:
        """Mean change of the loss on the example that was learned: negative if learning works."""
        return self._mean(self._itself)

    def within(self) -> float:
        """Mean change of the loss on other examples of its class or function."""
        return self._mean(self._same & ~self._itself)

    def across(self, seen: bool | None = None) -> float:
        """Mean change of the loss on examples of other classes or functions.

        `seen=True`: only on examples seen before this step, which can be forgotten; False: only on
        later ones. NaN where there are none.
        """
        if seen is None:
            return self._mean(~self._same)
        past = torch.tensor(self.examples, device=self.subtask.device) < self.after
        return self._mean(~self._same & (past == seen))

    def harmed(self) -> float:
        """Share of pairs from different classes for which the update raises the loss.

        An infinite loss, before or after, counts as raised.
        """
        return _mean_known((self.change > 0).to(self.change.dtype)[~self._same])

    def by_distance(self) -> tuple[list[int], list[float]]:
        """Mean change by distance in steps, from the learned example to the evaluated one.

        Negative distances are past examples, which can be forgotten; 0 is the example itself.
        """
        step = torch.tensor(self.examples)
        distance = step[None] - step[:, None]  # updates examples
        every = sorted({int(d) for d in distance.flatten()})
        mean = self.change.mean(0).cpu()
        return every, [float(mean[distance == d].mean()) for d in every]

    def sites(self) -> dict[str, dict[str, float]]:
        """The geometry of the updates at every site, means over pairs and lifetimes.

        `cosine_within` and `cosine_across`: of updates for examples of one class, of two;
        `dot_within` and `dot_across`: their dot products, which weigh large updates more;
        `synapses_across`, `units_across`: Jaccard overlap of the synapses and units that updates
        of two classes change; `angle`: degrees between the update and the negative gradient of
        the same example; `size`: norm of an update; `rank`: effective rank of their sum.
        """
        same = self._same & ~self._itself
        found = {}
        for site in sites_of(self.updates):
            names = [name for name in self.updates if name.rpartition(".")[0] == site]
            rows, gradients = (
                torch.cat([values[name].flatten(2) for name in names], -1)
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
                "angle": _mean_known(angles(rows, -gradients)),
                "size": _mean_known(rows.norm(dim=-1)),
                "rank": _mean_known(effective_rank(matrices.sum(1))),
            }
        return found

    def summary(self) -> dict[str, Any]:
        """The numbers of a table, JSON-able."""
        return {
            "after": self.after, "loss": float(self.loss.mean()),
            "same_example": self.same_example(), "within": self.within(), "across": self.across(),
            "across_seen": self.across(seen=True), "harmed": self.harmed(),
            "first_order_error": self.first_order_error, "sites": self.sites(),
            "measured": len(self.measured), "examples": len(self.examples),
            "diverged": self.diverged,
        }  # fmt: skip

    def own(self) -> float:
        """The former name of `same_example`."""
        warn_renamed("own", "same_example")
        return self.same_example()

    @property
    def tried(self) -> tuple[int, ...]:
        """The former name of `measured`."""
        warn_renamed("tried", "measured")
        return self.measured

    @property
    def _itself(self) -> Tensor:
        return torch.eye(len(self.examples), dtype=torch.bool, device=self.subtask.device)

    @property
    def _same(self) -> Tensor:
        return self.subtask[:, :, None] == self.subtask[:, None]

    def _mean(self, mask: Tensor) -> float:
        return _mean_known(self.change[mask.expand_as(self.change)])


def _mean_known(values: Tensor) -> float:
    """The mean of the values that are not NaN; NaN if there are none."""
    return float(values.nanmean())
