"""A rule of credit assignment: a learning rule with the delta rule, and what is said of it.

    class Mine(CreditRule):
        def through(self, weight, feedback):
            return 0.5 * (weight + feedback)

Published rules are in `metaplastic.rules`, each a file of its own. They are made of parts; a rule
of one's own may be, or override `first`, `through`, `follow` or `finish`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from metaplastic.alignment.base import Alignment, AtSite, NoAlignment
from metaplastic.pathways.base import CarriedBack, FeedbackPathway
from metaplastic.pathways.sequential import RandomFeedback
from metaplastic.plasticity.base import PlasticityRule
from metaplastic.plasticity.delta import Delta
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.sites.shape import SiteShape


class CreditRule(LearningRule):
    """Feedback alignment, to be overridden.

    Args:
        scale: of random feedback, against the standard deviation `sqrt(2 / (fan_in + fan_out))`.
        noise: the standard deviation of what chance adds to the feedback in every step.
        pathway, alignment, plasticity: the parts, where they are others than random feedback that
            stays, and the delta rule at 0.01.
    """

    route: ClassVar[Literal["sequential", "direct", "inverse"]] = "sequential"
    alias: ClassVar[tuple[str, ...]] = ()
    formula: ClassVar[str] = ""
    local: ClassVar[str] = ""  # what a synapse must know
    cost: ClassVar[str] = ""
    use: ClassVar[str] = ""
    bibtex: ClassVar[str] = ""
    # Of rules that override `follow`:
    sees_inputs: ClassVar[bool] = False
    sees_change: ClassVar[bool] = False

    def __init__(
        self,
        *,
        scale: float = 1.0,
        noise: float = 0.0,
        pathway: FeedbackPathway | None = None,
        alignment: Alignment | None = None,
        plasticity: PlasticityRule | None = None,
    ) -> None:
        pathway = pathway or RandomFeedback(scale=scale, weights="redrawn", spread="xavier")
        alignment = alignment or NoAlignment(noise=noise)
        super().__init__(
            self._overridden(pathway, _OwnPathway, "first", "through"),
            self._overridden(
                plasticity or Delta(rate=0.01, per="shared", learn=False), _OwnFinish, "finish"
            ),
            self._overridden(alignment, _OwnAlignment, "follow"),
        )
        self.scale, self.noise = scale, noise
        self.options = dict(self.made_with)

    def _overridden(self, part: Any, kind: Any, *names: str) -> Any:
        """The part, or one that asks this rule, whose class has a method of its own for it."""
        own = any(getattr(type(self), name) is not getattr(CreditRule, name) for name in names)
        return kind(self, part) if own else part

    @property
    def has_feedback(self) -> bool:
        """Whether there are weights that carry errors back."""
        return self.pathway.has_feedback

    def first(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        """The feedback of a site at the start, as the pathway has it."""
        key = torch.randint(1 << 31, (), generator=generator).to(weight.device)
        flat = (len(weight), weight[0].numel())
        site = SiteShape("", weight, flat, False, torch.Size(), torch.Size())
        found: Tensor = _part(self.pathway).initialize(site, key)
        return found

    def through(self, weight: Tensor, feedback: Tensor) -> Tensor:
        """The matrix or kernel that carries errors back, of the shape of the weight."""
        found: Tensor = _part(self.pathway).carrier(weight, feedback)
        return found

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        """The change of the feedback after a minibatch, without noise; None for no change."""
        found: Tensor | None = _part(self.alignment).follow(feedback, site)
        return found

    def finish(self, gradient: Tensor) -> Tensor:
        """What a site's weight gets as its gradient."""
        found: Tensor = _part(self.plasticity).finish(gradient)
        return found

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())


def _part(part: Any) -> Any:
    """The part that a rule was made with, within one that asks the rule."""
    return part.inner if isinstance(part, _OwnPathway | _OwnAlignment | _OwnFinish) else part


class _OwnPathway(CarriedBack):
    """The pathway of a rule that overrides `first` or `through`."""

    has_feedback = True
    reads_key = True

    def __init__(self, rule: CreditRule, inner: FeedbackPathway) -> None:
        super().__init__()
        self.rule, self.inner, self.options = (rule,), inner, {}  # no submodule: the rule owns this
        self.keeps_norm = inner.keeps_norm
        self.has_feedback = inner.has_feedback  # type: ignore[misc]

    @property
    def written_out(self) -> bool:
        return False

    def carriers(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        raise NotImplementedError

    def attach(self, sites: Sequence[Any], outputs: int) -> None:
        self.inner.attach(sites, outputs)

    def initialize(self, site: SiteShape, key: Tensor) -> Tensor:
        return self.rule[0].first(site.weight, torch.Generator().manual_seed(int(key)))

    def carrier(self, weight: Tensor, feedback: Tensor) -> Tensor:
        return self.rule[0].through(weight, feedback)


class _OwnAlignment(Alignment):
    """The alignment of a rule that overrides `follow`."""

    follows = True

    def __init__(self, rule: CreditRule, inner: Alignment) -> None:
        super().__init__(noise=inner.noise)
        self.rule, self.inner, self.options = (rule,), inner, {}
        self.sees_inputs = inner.sees_inputs or rule.sees_inputs

    @property
    def sees_change(self) -> bool:  # type: ignore[override]
        return self.inner.sees_change or self.rule[0].sees_change

    def attach(self, sites: Sequence[SiteShape]) -> None:
        self.inner.attach(sites)

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        return self.rule[0].follow(feedback, site)


class _OwnFinish(Delta):
    """The delta rule of a rule that overrides `finish`."""

    def __init__(self, rule: CreditRule, inner: PlasticityRule) -> None:
        super().__init__(rate=inner.initial, per="shared", learn=False)
        self.rule, self.inner = (rule,), inner

    def finish(self, gradient: Tensor) -> Tensor:
        return self.rule[0].finish(gradient)
