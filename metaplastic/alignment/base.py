"""The base class of alignment rules, and the local quantities that they are given.

A new rule is one class with one method:

    class Halfway(Alignment):
        def follow(self, feedback, site):
            return 0.5 * (site.weight - feedback)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from metaplastic.sites.products import Product
from metaplastic.sites.shape import SiteShape
from metaplastic.support.choices import check_choice
from metaplastic.support.noise import fold, normal
from metaplastic.support.ranges import check_number
from metaplastic.support.recorded import Recorded
from metaplastic.support.renamed import FormerAttribute

Coefficient = float | Callable[[int], float]
"""A number, or a schedule: a function of the number of examples or minibatches so far."""
Shared = Literal["synapse", "neuron", "layer", "shared"]


@dataclass(frozen=True)
class AtSite:
    """The quantities of one site after a step, for an alignment rule.

    `calls` are the products of the step, each with its input `x` and its operation (`run`, `carry`,
    `outer` for weights of the site's shape); empty unless the rule declares `sees_inputs`.
    """

    name: str
    weight: Tensor
    change: Tensor  # of the weight in this step
    before: Tensor  # the weight before it
    calls: tuple[Product, ...] = ()
    step: Tensor | int = 0  # steps so far
    key: Tensor | Callable[[], Tensor] = field(default_factory=lambda: torch.tensor(0))
    """Of this site and step, or how to make it."""

    def noise(self, shape: Sequence[int], name: str) -> Tensor:
        """Normal numbers, fixed by the lifetime's seed, the site, the step and this name."""
        key = self.key() if callable(self.key) else self.key  # made only where there is noise
        return normal(fold(key, name), tuple(shape), self.weight.dtype)

    @property
    def product(self) -> Product:
        """The first product."""
        return self.calls[0]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The inputs of the site's products."""
        return tuple(call.x for call in self.calls)

    meeting = FormerAttribute("product")


class Alignment(Recorded, nn.Module):
    """The base class of alignment rules: feedback that does not change.

    Args:
        noise: the standard deviation of the noise that is added to the feedback in every step.
        learn: whether the coefficients are meta-learned; those that are schedules are not.
        per: which synapses share one learned coefficient.

    Raises:
        ValueError: for a coefficient out of its range.
    """

    coefficients: ClassVar[tuple[str, ...]] = ()  # names of options that may be learned
    of_inputs: ClassVar[tuple[str, ...]] = ()  # those that multiply inputs: one number for a site
    sees_inputs: bool = False  # whether `follow` reads `site.calls`
    sees_change: ClassVar[bool] = True  # whether it reads `site.change` and `site.before`

    def __init__(
        self, *, noise: float = 0.0, learn: bool = False, per: Shared = "shared", **values: Any
    ) -> None:
        super().__init__()
        check_choice("per", per, Shared)
        check_number("noise", noise)
        self.options: dict[str, Any] = {**values, "noise": noise, "learn": learn, "per": per}
        self.noise, self.learn, self.per = noise, learn, per
        self.learned = nn.ParameterDict()
        self.shapes: dict[str, SiteShape] = {}  # of sites with a coefficient for each neuron
        for name in self.coefficients:
            if learn and per == "shared" and not callable(values[name]):
                self.learned[name] = nn.Parameter(torch.tensor(float(values[name])))

    def attach(self, sites: Sequence[SiteShape]) -> None:
        """Create the coefficients that are not shared by all sites."""
        if not self.learn or self.per == "shared":
            return
        for site in sites:
            like = site.weight
            shape: tuple[int, ...] = (1,) * like.dim()
            if self.per == "synapse":
                shape = tuple(like.shape)
            elif self.per == "neuron":
                shape = site.shape[0], 1
                self.shapes[site.key] = replace(site, weight=like.to("meta"))
            for name in self.coefficients:
                value = self.options[name]
                if not callable(value):
                    own = () if name in self.of_inputs else shape
                    self.learned[f"{name}|{site.key}"] = nn.Parameter(
                        torch.full(own, float(value), dtype=like.dtype)
                    )

    def value(self, name: str, site: AtSite) -> Any:
        """A coefficient at this site and step: a number, or a tensor that fits the weight."""
        at = site.name.replace(".", "_") or "weight"
        for key in (f"{name}|{at}", name):
            if key in self.learned:
                found = self.learned[key]
                by_unit = at in self.shapes and name not in self.of_inputs
                return self.shapes[at].as_weight(found) if by_unit else found
        given = self.options[name]
        return given(int(site.step)) if callable(given) else given

    @property
    def scheduled(self) -> bool:
        """Whether a coefficient is a function of the step's number."""
        return any(callable(self.options[name]) for name in self.coefficients)

    def zero(self, name: str) -> bool:
        """Whether a coefficient is 0 at all steps, so that its term need not be computed."""
        given = self.options[name]
        return not callable(given) and given == 0 and not self.learn

    @property
    def reads_before(self) -> bool:
        """Whether `follow` may read `site.before`, so that weights are copied first."""
        return self.sees_change

    @property
    def follows(self) -> bool:
        """Whether the feedback changes at all, but for noise."""
        return type(self).follow is not Alignment.follow

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        """The change of a site's feedback in this step, without noise; None for no change."""
        return None

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())


class NoAlignment(Alignment):
    """Feedback that is fixed, up to noise."""

    sees_change = False

    def __init__(self, *, noise: float = 0.0) -> None:
        super().__init__(noise=noise)
        self.options = {"noise": noise}
