"""The feedback weights of a model's sites: made once, kept as buffers, and following by a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from metaplastic.sites.credit_rule import AtSite, CreditRule
from metaplastic.sites.credit_shapes import Shapes
from metaplastic.sites.credit_sites import Meeting, Synapses, bare

BEFORE, NORM = "|before", "|norm"


class Feedback(nn.Module):
    """Feedback weights by site, and what the rule must remember of the forward weights."""

    def __init__(
        self,
        rule: CreditRule,
        model: nn.Module,
        sites: Mapping[str, str],
        shapes: Shapes,
        seed: int,
    ) -> None:
        super().__init__()
        self.rule, self.names = rule, list(dict.fromkeys(sites.values()))
        generator = torch.Generator().manual_seed(seed)
        for name in self.names:
            weight = weight_of(model, name).detach()
            like = shapes.direct(name, weight) if rule.route == "direct" else weight
            self.register_buffer(_key(name), rule.first(like, generator))
            if rule.sees_change:
                self.register_buffer(_key(name) + BEFORE, weight.clone())
            if rule.keeps_norm:
                self.register_buffer(_key(name) + NORM, weight.norm())

    def of(self, name: str, kind: str = "") -> Tensor:
        """A site's feedback, its weight at the last minibatch, or that weight's first norm."""
        found: Tensor = getattr(self, _key(name) + kind)
        return found

    @torch.no_grad()
    def rescale(self, model: nn.Module) -> None:
        """Give every forward weight its first norm, if the rule says so."""
        for name in self.names if self.rule.keeps_norm else ():
            weight = weight_of(model, name)
            weight.mul_(self.of(name, NORM) / weight.norm())

    @torch.no_grad()
    def follow_change(self, model: nn.Module) -> None:
        """What the optimizer did since the last minibatch reaches the feedback.

        Nothing, if it made no step: then gradients are being added up.
        """
        weights = {name: weight_of(model, name).detach() for name in self.names}
        if all(torch.equal(weight, self.of(name, BEFORE)) for name, weight in weights.items()):
            return
        for name, weight in weights.items():
            before = self.of(name, BEFORE)
            self._add(model, name, weight - before, before, ())
            before.copy_(weight)
        self.rule.steps += 1

    @torch.no_grad()
    def follow(self, model: nn.Module, seen: Mapping[str, list[Tensor]]) -> None:
        """One step after a minibatch in which the sites met these inputs."""
        for name in self.names:
            if self.rule.sees_inputs and name not in seen:
                continue  # the first site: its feedback carries nothing back and need not follow
            weight = weight_of(model, name).detach()
            self._add(
                model, name, torch.zeros((), device=weight.device), weight, seen.get(name, ())
            )
        self.rule.steps += 1

    def _add(
        self, model: nn.Module, name: str, change: Tensor, before: Tensor, met: Sequence[Tensor]
    ) -> None:
        module, feedback = bare(model).get_submodule(name), self.of(name)
        assert isinstance(module, Synapses)
        site = AtSite(Meeting(module), module.weight.detach(), change, before, tuple(met))
        with torch.autocast(feedback.device.type, enabled=False):
            moved = self.rule.follow(feedback, site)
        if moved is not None:
            if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
                dist.all_reduce(moved)  # every process has seen its own part of the minibatch
                moved = moved / dist.get_world_size()
            feedback += moved
        if self.rule.noise:
            feedback += self.rule.noise * torch.randn_like(feedback)


def weight_of(model: nn.Module, name: str) -> Tensor:
    """The weight of a site, in the model or in the one that a wrapper holds."""
    weight = bare(model).get_submodule(name).weight
    assert isinstance(weight, Tensor)
    return weight


def _key(name: str) -> str:
    return "at|" + name.replace(".", "|")  # a buffer's name may hold no dot
