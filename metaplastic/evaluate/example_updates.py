"""Single-example updates, and the loss on every example after each of them.

Shapes: `x` is `tasks examples batch *features`, encoded; `y` its targets; `fast` the current
fast weights, `tasks *weight`; updates and gradients are `tasks examples *weight`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metaplastic.evaluate.lifetime_evaluation import nan_to_inf
from metaplastic.stacked.stack import FastWeights

if TYPE_CHECKING:
    from metaplastic.inner.learner import OnlineLearner


def _each(weights: FastWeights, times: int) -> FastWeights:
    """A copy of a lifetime's weights for every example: `tasks ...` -> `(tasks times) ...`."""
    return {name: weight.repeat_interleave(times, 0) for name, weight in weights.items()}


def plastic_weights(learner: OnlineLearner) -> list[str]:
    """The names of the weights that an update may change; sampled feedback is not among them."""
    return learner.plastic_weights


def rule_updates(learner: OnlineLearner, fast: FastWeights, x: Tensor, y: Tensor) -> FastWeights:
    """The rule's update for each single example, by the parameters that it changes."""
    before = _each(fast, x.shape[1])
    after = learner.adapt(x.flatten(0, 1)[:, None], y.flatten(0, 1)[:, None], before)
    return {
        name: (after[name] - before[name]).view(*x.shape[:2], *before[name].shape[1:])
        for name in plastic_weights(learner)
        if learner.rule.plasticity.moves_bias or not name.endswith(".bias")
    }


def gradients_of(
    learner: OnlineLearner, fast: FastWeights, x: Tensor, y: Tensor
) -> tuple[Tensor, FastWeights]:
    """The loss of each example, `tasks examples`, and its gradient at the plastic weights."""
    with torch.enable_grad():
        weights = {name: weight.detach() for name, weight in _each(fast, x.shape[1]).items()}
        leaves = {name: weights[name].requires_grad_() for name in plastic_weights(learner)}
        prediction = learner.predict(weights, x.flatten(0, 1))
        loss = learner.objective.loss(prediction, y.flatten(0, 1)).mean(1)
        found = torch.autograd.grad(loss.sum(), list(leaves.values()))
    gradients = {
        name: gradient.view(*x.shape[:2], *gradient.shape[1:])
        for name, gradient in zip(leaves, found, strict=True)
    }
    return nan_to_inf(loss.detach()).view(x.shape[:2]), gradients


def losses_after(
    learner: OnlineLearner, fast: FastWeights, updates: FastWeights, x: Tensor, y: Tensor
) -> Tensor:
    """The loss on all examples after each of these updates: `tasks updates examples`.

    NaN becomes infinity, as in every report: a mean over the rest would hide it.
    """
    tasks, count = next(iter(updates.values())).shape[:2]
    changed = {
        name: (weight[:, None] + updates[name]).flatten(0, 1) if name in updates
        else weight.repeat_interleave(count, 0)
        for name, weight in fast.items()
    }  # fmt: skip
    every = x.flatten(1, 2).repeat_interleave(count, 0)
    target = y.flatten(1, 2).repeat_interleave(count, 0)
    loss = learner.objective.loss(learner.predict(changed, every), target)
    return nan_to_inf(loss).view(tasks, count, x.shape[1], -1).mean(3)


def gradient_steps_of_norm(gradients: FastWeights, updates: FastWeights) -> FastWeights:
    """Gradient-descent steps, each with the norm of the rule's update at that site."""
    found = {}
    for site in sites_of(updates):
        names = [name for name in updates if name.rpartition(".")[0] == site]
        rule_norm, gradient_norm = (
            torch.cat([values[name].flatten(2) for name in names], -1).norm(dim=-1)
            for values in (updates, gradients)
        )
        scale = torch.where(gradient_norm > 0, rule_norm / gradient_norm, 0.0)
        for name in names:
            missing = gradients[name].dim() - scale.dim()
            found[name] = -gradients[name] * scale.view(*scale.shape, *[1] * missing)
    return found


def sites_of(updates: Mapping[str, Tensor]) -> list[str]:
    """The sites whose parameters are among these, each once, in order."""
    return list(dict.fromkeys(name.rpartition(".")[0] for name in updates))


def at_sites(updates: FastWeights, sites: Sequence[str]) -> FastWeights:
    """The updates of these sites; the others keep their weights."""
    names = sites_of(updates)
    if unknown := [site for site in sites if site not in names]:
        raise ValueError(
            f"{unknown[0]!r} is not a plastic site of this learner, which has {', '.join(names)}."
        )
    return {n: update for n, update in updates.items() if n.rpartition(".")[0] in sites}
