"""The feedback weights of a model's sites: made once, kept as buffers, and following by a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn

from metaplastic.alignment.base import AtSite
from metaplastic.alignment.sleep import Sleep
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.sites.found import Sites
from metaplastic.sites.products import Product
from metaplastic.sites.shape import SiteShape
from metaplastic.support.noise import feedback_key, fold

BEFORE, NORM = "|before", "|norm"


class Feedback(nn.Module):
    """Feedback weights by site, what the rule must remember of the forward weights, and a count.

    Everything that chance decides is a function of (seed, site, step), both kept as buffers.
    """

    step: Tensor
    seed: Tensor
    slept: Tensor

    def __init__(self, rule: LearningRule, sites: Sequence[SiteShape], seed: int) -> None:
        super().__init__()
        device = sites[0].weight.device
        self.names = [site.name for site in sites]
        self.register_buffer("step", torch.zeros((), dtype=torch.int64, device=device))
        self.register_buffer("seed", torch.tensor(seed, dtype=torch.int64, device=device))
        if isinstance(rule.alignment, Sleep):  # the last step that was slept before
            self.register_buffer("slept", torch.full_like(self.step, -1))
        with torch.no_grad():
            for site in sites:
                sampled = rule.pathway.initialize(site, feedback_key(self.seed, site.name))
                self.register_buffer(_key(site.name), sampled.detach().clone())
                if rule.alignment.sees_change:
                    self.register_buffer(_key(site.name) + BEFORE, site.weight.clone())
                if rule.pathway.keeps_norm:
                    self.register_buffer(_key(site.name) + NORM, site.weight.norm())

    def of(self, name: str, kind: str = "") -> Tensor:
        """A site's feedback, its weight at the last step, or that weight's first norm."""
        found: Tensor = getattr(self, _key(name) + kind)
        return found

    @torch.no_grad()
    def prepare(
        self, rule: LearningRule, weights_now: Callable[[], dict[str, Tensor]], found: Sites
    ) -> None:
        """Before a pass: norms are restored, and the feedback follows what an optimizer did.

        Where no step was made since, gradients are being added up, and nothing follows.
        """
        sleeps = isinstance(rule.alignment, Sleep)
        if not (rule.pathway.keeps_norm or sleeps or rule.alignment.sees_change):
            return
        weights = weights_now()
        if rule.pathway.keeps_norm:
            for name, weight in weights.items():
                weight.mul_(self.of(name, NORM) / weight.norm())
        if sleeps:
            self.sleep(rule, weights, {name: found.silent_calls(name) for name in self.names})
        if not rule.alignment.sees_change:
            return
        before = {name: self.of(name, BEFORE) for name in self.names}
        if all(torch.equal(weights[name], before[name]) for name in self.names):
            return
        self.follow(rule, weights, before, {}, everywhere=True)
        for name in self.names:
            before[name].copy_(weights[name])
        self.step += 1

    @torch.no_grad()
    def follow(
        self,
        rule: LearningRule,
        weights: Mapping[str, Tensor],
        before: Mapping[str, Tensor] | None,
        seen: Mapping[str, Sequence[Product]],
        *,
        everywhere: bool,
        changes: Mapping[str, Tensor] | None = None,
    ) -> None:
        """One step of the alignment rule.

        Args:
            weights: by site, as they are now; `before`, as they were, or None for no change.
            changes: in the place of `before`, for a rule that does not read it; of sites that
                changed.
            seen: the products of the step, by site.
            everywhere: also at sites that the step did not meet, or whose feedback carries nothing.
        """
        alignment = rule.alignment
        for name in self.names:
            if alignment.sees_inputs and name not in seen and not everywhere:
                continue
            weight, feedback = weights[name], self.of(name)
            was = weight if before is None else before[name]
            if changes is not None and name in changes:
                change = changes[name]
            else:
                change = torch.zeros_like(weight) if before is None else weight - was
            key = partial(fold, self.seed, "alignment", name, self.step)
            at = AtSite(name, weight, change, was, tuple(seen.get(name, ())), self.step, key)
            moved = None
            if alignment.follows and not (alignment.sees_inputs and name not in seen):
                with torch.autocast(feedback.device.type, enabled=False):
                    moved = alignment.follow(feedback, at)
            if moved is not None:
                if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
                    dist.all_reduce(moved)  # every process has seen its own part of the minibatch
                    moved = moved / dist.get_world_size()
                feedback += moved
            if alignment.noise:
                feedback += alignment.noise * at.noise(feedback.shape, "noise")

    @torch.no_grad()
    def sleep(
        self,
        rule: LearningRule,
        weights: Mapping[str, Tensor],
        silent: Mapping[str, Sequence[Product]],
    ) -> None:
        """The sleeping steps that are due before the next step, if the rule has any.

        Once for a step, also where its pass fails, or gradients are added up, and it comes again.
        """
        alignment = rule.alignment
        if not isinstance(alignment, Sleep) or self.slept == self.step:
            return
        for asleep in range(alignment.due(int(self.step))):
            for name in self.names:
                weight, feedback = weights[name], self.of(name)
                key = partial(fold, self.seed, "sleep", name, self.step, asleep)
                at = AtSite(
                    name, weight, torch.zeros_like(weight), weight, tuple(silent[name]), self.step,
                    key,
                )  # fmt: skip
                moved = alignment.asleep.follow(feedback, at)
                if moved is not None:
                    feedback += moved
        self.slept.copy_(self.step)


def _key(name: str) -> str:
    return "at|" + name.replace(".", "|")  # a buffer's name may hold no dot
