"""The interference matrix: what each of many updates does to each of many losses.

Everything a table or figure of interference shows is derived from it, and from the updates and the
gradients that belong to it.
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
from metaplastic.evaluate.lifetime_evaluation import counted


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
        whole = len(self.tried) == len(self.examples)
        return self.exact if whole else counted(self.first_order)

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

    @property
    def diverged(self) -> int:
        """Lifetimes in which a loss is no number, before or after an update: it is infinite."""
        return int(self.change.isinf().flatten(1).any(1).sum())

    def own(self) -> float:
        """Mean change of the loss on the example that was learned: negative if learning works."""
        return self._mean(self._itself)

    def within(self) -> float:
        """Mean change of the loss on other examples of its class or function."""
        return self._mean(self._same & ~self._itself)

    def across(self, seen: bool | None = None) -> float:
        """Mean change of the loss on examples of other classes or functions.

        `seen=True`: on those alone that were lived before this moment, which can be forgotten;
        False: on those to come. NaN where there are none.
        """
        if seen is None:
            return self._mean(~self._same)
        lived = torch.tensor(self.examples, device=self.subtask.device) < self.after
        return self._mean(~self._same & (lived == seen))

    def harmed(self) -> float:
        """Share of pairs from different classes whose loss the update raises.

        A loss that is no number, before or after, is infinite and counts as harm.
        """
        return _mean_known((self.change > 0).to(self.change.dtype)[~self._same])

    def by_distance(self) -> tuple[list[int], list[float]]:
        """Mean change against how much later in the stream the example came than the update's.

        Negative distances are the past, which can be forgotten; 0 is the example itself.
        """
        when = torch.tensor(self.examples)
        distance = when[None] - when[:, None]  # updates examples
        every = sorted({int(d) for d in distance.flatten()})
        mean = self.change.mean(0).cpu()
        return every, [float(mean[distance == d].mean()) for d in every]

    def sites(self) -> dict[str, dict[str, float]]:
        """The geometry of the updates at every site, means over pairs and lifetimes.

        `cosine_within` and `cosine_across`: of updates for examples of one class, of two;
        `dot_within` and `dot_across`: their dot products, which weigh long updates more;
        `synapses_across`, `units_across`: what updates of two classes both touch, of what either
        touches; `angle`: degrees between the update and the negative gradient of the same
        example; `size`: length of an update; `rank`: effective rank of the sum of all updates.
        """
        same = self._same & ~self._itself
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
            "within": self.within(), "across": self.across(), "across_seen": self.across(seen=True),
            "harmed": self.harmed(),
            "first_order_error": self.first_order_error, "sites": self.sites(),
            "tried": len(self.tried), "examples": len(self.examples),
            "diverged": self.diverged,
        }  # fmt: skip

    @property
    def _itself(self) -> Tensor:
        return torch.eye(len(self.examples), dtype=torch.bool, device=self.subtask.device)

    @property
    def _same(self) -> Tensor:
        return self.subtask[:, :, None] == self.subtask[:, None]

    def _mean(self, mask: Tensor) -> float:
        return _mean_known(self.change[mask.expand_as(self.change)])


def _mean_known(values: Tensor) -> float:
    """The mean of what is not NaN; NaN if there is none."""
    return float(values.nanmean())
