"""Rules of credit assignment: learning rules with a name, and metadata for tables and citations.

    class Mine(CreditRule):
        def through(self, weight, feedback):
            return 0.5 * (weight + feedback)

Published rules are in `metaplastic.rules`, each a file of its own. They consist of a pathway, a
plasticity and an alignment; a rule of your own may as well, or override `first`, `through`,
`follow` or `finish`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from metaplastic.alignment.base import Alignment, AtSite, NoAlignment
from metaplastic.pathways.base import FeedbackPathway
from metaplastic.pathways.carried_back import CarriedBack
from metaplastic.pathways.sequential import RandomFeedback
from metaplastic.plasticity.base import PlasticityRule
from metaplastic.plasticity.delta import Delta
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.sites.shape import SiteShape


class CreditRule(LearningRule):
    """The base class of named rules: feedback alignment, to be overridden.

    Every subclass accepts `plasticity=` beside its own options.

    Args:
        scale: of random feedback, in units of the deviation `sqrt(2 / (fan_in + fan_out))`.
        noise: the standard deviation of the noise that is added to the feedback in every step.
        pathway: random feedback unless given.
        alignment: fixed feedback unless given.
        plasticity: the delta rule with the rate 0.01, not learned, unless given.
    """

    route: ClassVar[Literal["sequential", "direct", "inverse"]] = "sequential"
    alias: ClassVar[tuple[str, ...]] = ()
    formula: ClassVar[str] = ""
    local: ClassVar[str] = ""  # whether the rule is local, or what a synapse must know
    cost: ClassVar[str] = ""
    use: ClassVar[str] = ""
    bibtex: ClassVar[str] = ""
    # For rules that override `follow`:
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
        given = self.__dict__.pop(_GIVEN, None)
        super().__init__(
            self._overridden(pathway, _OverriddenPathway, "first", "through"),
            given or plasticity or Delta(rate=0.01, per="shared", learn=False),
            self._overridden(alignment, _OverriddenAlignment, "follow"),
        )
        self.scale, self.noise = scale, noise
        self.options = {**self.made_with}
        if self.options.get("plasticity") is None:
            self.options.pop("plasticity", None)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = _with_plasticity(cls.__init__)  # type: ignore[method-assign]

    def _overridden(self, part: Any, kind: Any, *names: str) -> Any:
        """The part or, if the class of this rule overrides its methods, one that calls them."""
        own = any(getattr(type(self), name) is not getattr(CreditRule, name) for name in names)
        return kind(self, part) if own else part

    @property
    def has_feedback(self) -> bool:
        """Whether there are feedback weights."""
        return self.pathway.has_feedback

    def first(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        """The initial feedback weights of a site, by default the pathway's."""
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

    def extra_repr(self) -> str:
        numbers = {n: v for n, v in self.options.items() if not isinstance(v, nn.Module)}
        return ", ".join(f"{name}={value!r}" for name, value in numbers.items())


_GIVEN = "_given_plasticity"


def _with_plasticity(constructor: Callable[..., None]) -> Callable[..., None]:
    """A rule's constructor that also accepts `plasticity=`, for `CreditRule.__init__`."""
    signature = inspect.signature(constructor)
    if "plasticity" in signature.parameters:
        return constructor

    @wraps(constructor)
    def construct(
        self: CreditRule, *args: Any, plasticity: PlasticityRule | None = None, **kwargs: Any
    ) -> None:
        if plasticity is not None:
            self.__dict__[_GIVEN] = plasticity  # before the constructor of nn.Module has run
        constructor(self, *args, **kwargs)

    own = list(signature.parameters.values())
    rest = [own.pop()] if own and own[-1].kind is inspect.Parameter.VAR_KEYWORD else []
    added = inspect.Parameter("plasticity", inspect.Parameter.KEYWORD_ONLY, default=None)
    construct.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*own, added, *rest]
    )
    return construct


def _part(part: Any) -> Any:
    """The part that a rule was made with, inside one that calls the rule."""
    return part.inner if isinstance(part, _OverriddenPathway | _OverriddenAlignment) else part


class _OverriddenPathway(CarriedBack):
    """The pathway of a rule that overrides `first` or `through`."""

    has_feedback = True
    reads_key = True

    def __init__(self, rule: CreditRule, inner: FeedbackPathway) -> None:
        super().__init__()
        self.rule, self.inner, self.options = (rule,), inner, {}  # no submodule: the rule owns this
        self.keeps_norm = inner.keeps_norm
        self.has_feedback = inner.has_feedback  # type: ignore[misc]

    def attach(self, sites: Sequence[Any], outputs: int) -> None:
        self.inner.attach(sites, outputs)

    def initialize(self, site: SiteShape, key: Tensor) -> Tensor:
        return self.rule[0].first(site.weight, torch.Generator().manual_seed(int(key)))

    def carrier(self, weight: Tensor, feedback: Tensor) -> Tensor:
        return self.rule[0].through(weight, feedback)


class _OverriddenAlignment(Alignment):
    """The alignment of a rule that overrides `follow`."""

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
