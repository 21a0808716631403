"""Detection and diagnosis of divergence in a meta-step.

A rule that is being meta-learned may make fast weights diverge within a lifetime. This module finds
the lifetime, the inner step and the weight by running the lifetime again one step at a time. The
trainer then skips the meta-step or stops, as configured.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metaplastic.episode import Episode

if TYPE_CHECKING:
    from metaplastic.inner.learner import OnlineLearner
    from metaplastic.outer.meta_gradient import MetaGradient
    from metaplastic.outer.trainer_config import OnDivergence

EXPLODES = 1e3
"""A fast weight this many times larger than its initial value (or than 1) counts as diverging."""


class DivergenceError(RuntimeError):
    """A lifetime or a meta-gradient is not finite, and the run is configured to stop."""


class DivergenceWarning(RuntimeWarning):
    """A meta-step was skipped: a lifetime or its meta-gradient could not be used."""


@dataclass(frozen=True)
class Divergence:
    """The first divergence of a meta-step, counted from 0; None where it is unknown."""

    meta_step: int
    task: int | None  # within the meta-batch
    inner_step: int | None
    site: str | None  # name of a fast weight, or what else was not finite
    what: str

    def __str__(self) -> str:
        where = f"meta-step {self.meta_step}"
        if self.task is not None:
            where += f", task {self.task}"
        if self.inner_step is not None:
            where += f", inner step {self.inner_step}"
        return f"{where}: {self.what}"

    def metrics(self) -> dict[str, float | int | str]:
        """The divergence as metrics."""
        found: dict[str, float | int | str | None] = {
            "diverged": self.what,
            "diverged_task": self.task,
            "diverged_inner_step": self.inner_step,
            "diverged_site": self.site,
        }
        return {name: value for name, value in found.items() if value is not None}


def suspects(per_task: Tensor, limit: float | None) -> list[int]:
    """The tasks whose loss is not finite, or above `limit` where one is given."""
    bad = ~per_task.isfinite()
    if limit is not None:
        bad |= per_task > limit
    return [int(task) for task in bad.nonzero().flatten()]


@torch.no_grad()
def locate(learner: OnlineLearner, episodes: Episode, task: int, meta_step: int) -> Divergence:
    """The first weight that is not finite when lifetime `task` is run again, step by step."""
    episode = episodes.select(slice(task, task + 1))

    def found(inner_step: int | None, site: str | None, what: str) -> Divergence:
        return Divergence(meta_step, task, inner_step, site, what)

    for name in ("support_x", "support_y", "query_x", "query_y"):
        if not _finite(getattr(episode, name)):
            return found(None, name, f"the stream's {name} is not finite.")
    fast = learner.initialize(episode.support_y, episode.seed)
    for site, weight in fast.items():
        if not _finite(weight):
            return found(None, site, f"{site} is not finite at initialization.")
    initial = {site: max(_largest(weight), 1.0) for site, weight in fast.items()}
    explosion: Divergence | None = None
    for first, last in _pieces(learner, episode.support_x.shape[1]):
        where = None if last - first > 1 else first
        y = episode.support_y[:, first:last]
        x = learner.encode(episode.support_x[:, first:last].flatten(0, 2))
        if not _finite(x):
            return found(where, "encoder", "the encoded support is not finite.")
        fast = learner.adapt(x.view(*y.shape[:3], *x.shape[1:]), y, fast)
        for site, weight in fast.items():
            if not _finite(weight):
                since = f", having exploded at {explosion.inner_step}" if explosion else ""
                return found(where, site, f"{site} is not finite{since}.")
            if explosion is None and _largest(weight) > EXPLODES * initial.get(site, 1.0):
                what = f"{site} explodes; its largest entry is {_largest(weight):.3g}."
                explosion = found(where, site, what)
    nothing = "no fast weight explodes, but the prediction or its loss does."
    return explosion or found(None, None, nothing)


def _pieces(learner: OnlineLearner, steps: int) -> list[tuple[int, int]]:
    """The ranges of inner steps to run: single steps, or all for a learner that is not online."""
    if learner.passes > 1 or learner.batch_learning:
        return [(0, steps)]
    return [(step, step + 1) for step in range(steps)]


def diagnose(
    learner: OnlineLearner,
    episodes: Episode,
    result: MetaGradient,
    size: int,
    limit: float | None,
    meta_step: int,
) -> Divergence:
    """The divergence that makes the `result` of a meta-step unusable.

    `size` is the number of tasks in a micro-batch; losses above `limit` count as diverged.
    """
    bad = suspects(result.per_task, limit)
    if bad:
        return locate(learner, episodes, bad[0], meta_step)
    for task in (task for k in result.faulty for task in range(k * size, (k + 1) * size)):
        learner.zero_grad(set_to_none=True)
        learner(episodes.select(slice(task, task + 1))).loss.backward()
        broken = [name for name, p in learner.named_parameters() if not _finite(p.grad)]
        learner.zero_grad(set_to_none=True)
        if broken:
            what = f"the loss is finite but its gradient for {broken[0]} is not."
            return Divergence(meta_step, task, None, broken[0], what)
    if all(_finite(gradient) for gradient in result.gradients) and not _finite(result.norm):
        largest = max(_largest(gradient) for gradient in result.gradients if gradient is not None)
        what = f"the meta-gradient is finite but its norm is not; its entries reach {largest:.3g}."
        return Divergence(meta_step, None, None, None, what)
    what = "every lifetime is finite but their mean loss or its gradient is not."
    return Divergence(meta_step, None, None, None, what)


def stop_or_warn(
    cause: Divergence, on_divergence: OnDivergence, in_a_row: int, max_skipped: int, main: bool
) -> None:
    """Stop or warn, as configured, after `in_a_row` unusable meta-steps in a row.

    All processes of a run stop together; only the `main` one warns.

    Raises:
        DivergenceError: if configured to stop, or if `max_skipped` in a row were unusable.
    """
    advice = "Lower the rate of plasticity or start it smaller, clip the meta-gradient,"
    if on_divergence == "stop":
        raise DivergenceError(f"Stopped at {cause} {advice} or resume with on_divergence='skip'.")
    if in_a_row >= max_skipped:
        raise DivergenceError(
            f"Stopped after {in_a_row} unusable meta-steps in a row, the last at {cause} {advice} "
            "or allow more with max_skipped."
        )
    if main:
        warnings.warn(f"Skipped {cause}", DivergenceWarning, stacklevel=6)


def _finite(tensor: Tensor | None) -> bool:
    return tensor is None or bool(torch.isfinite(tensor).all())


def _largest(tensor: Tensor) -> float:
    return float(tensor.abs().max()) if tensor.numel() else 0.0
