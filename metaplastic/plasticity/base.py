"""The base class of plasticity rules: the change of a site's weights from local quantities.

Locality is the signature. `delta` is given one site's weight and activities and nothing else, so a
rule that type-checks is a rule a synapse could follow. A rule is given its rate, because not
every rule is linear in it (`StableOja`), and returns the change summed over rows; constant factors
such as 1/batch are in the rate already (see `rules.learning_rule`).

A new rule is one class with one method:

    class Decay(PlasticityRule):
        def delta(self, weight, pre, post, signal, rate):
            return -rate * weight
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from metaplastic.sites.shape import SiteShape
from metaplastic.stacked.site import Site
from metaplastic.support.choices import check_choice
from metaplastic.support.recorded import Recorded

Granularity = Literal["synapse", "neuron", "feature", "layer", "shared"]
Scale = Literal["raw", "log", "bounded"]
Promise = Literal["by_row", "linear", "outer", "sign_of_outer", "of_outer", "ignores_post"]
AnySite = Site | SiteShape
Traces = Mapping[str, Tensor]


class PlasticityRule(Recorded, nn.Module, ABC):
    """A plasticity rule: rates for every plastic site, and the abstract change `delta`.

    Args:
        rate: initial plasticity coefficient of every synapse.
        per: which synapses share one coefficient: `synapse` (each has its own), `neuron` (those of
            a postsynaptic unit), `feature` (those of a presynaptic unit, so that a readout may get
            more outputs), `layer`, `shared` (all layers).
        scale: `raw`, the coefficient is the parameter (published); `log`, it is
            `rate * exp(parameter)`, always of the sign of `rate` and learned in relative steps;
            `bounded`, it is `limit * tanh(parameter)`, so no meta-step can leave the stable range.
        limit: the bound of `bounded`.
        learn: `False` freezes all rates.

    Raises:
        ValueError: for an unknown choice, or a first rate that the scale cannot express.
    """

    moves_bias = False  # whether biases change as well; FLP's rules leave them
    # Whether parameters of no site (norms, embeddings) change as well, along their gradient.
    moves_others = False
    averages_positions = True  # a convolution's change is the mean over positions, not the sum
    # Six promises of one `delta`; a subclass with another `delta` has to declare them again.
    # by_row: a row of the change depends on nothing but that row of the weight, the input and the
    # row's own signal, is zero without a signal, and does not read `post`. Then a lifetime of
    # one-hot labels is run row by row (`inner.rows`).
    by_row = False
    # linear: by_row, and a synapse's change is its weight times a factor of rate and signal, plus
    # what does not depend on the weight. Then such a lifetime has a closed form (`inner.blocks`).
    linear = False
    # outer: it is `rate * outer_product(signal, pre)`. Then weights are updated in one call.
    outer = False
    # sign_of_outer: it is `rate * outer_product(signal, pre).sign()`.
    sign_of_outer = False
    # of_outer: signal and input count by their `outer_product` alone, and `from_outer` is given it.
    of_outer = False
    # ignores_post: it does not read `post`. Then activities are not recorded.
    ignores_post = False
    two_sided = False  # whether the change depends on the signal at the presynaptic units as well
    reads_answer = False  # whether `post` of the readout is the softmax in the place of the logits
    # Whether a step has the same size at any size of the sums: it is not divided by the batch size.
    relative = False
    formula: ClassVar[str] = ""  # of an example: a is the rate, s the signal, x the input
    traces: ClassVar[tuple[str, ...]] = ()  # names of values that every synapse keeps, 0 at first
    _promised: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "delta" in vars(cls) and "formula" not in vars(cls):
            cls.formula = ""  # which is of another delta
        if "delta" in vars(cls):
            cls._promised = frozenset(
                name for name in get_args(Promise) if vars(cls).get(name, False)
            )

    def __init__(
        self,
        *,
        rate: float = 0.0,
        per: Granularity = "synapse",
        scale: Scale = "raw",
        limit: float = 1.0,
        learn: bool = True,
    ) -> None:
        super().__init__()
        check_choice("per", per, Granularity)
        check_choice("scale", scale, Scale)
        if scale == "log" and rate == 0:
            raise ValueError("A log-scaled rate cannot start at 0; give rate a value such as 1e-3.")
        if scale == "bounded" and abs(rate) >= limit:
            raise ValueError(f"rate is {rate}, which is not inside the bound {limit}; raise limit.")
        self.options: dict[str, Any] = {
            "rate": rate, "per": per, "scale": scale, "limit": limit, "learn": learn
        }  # fmt: skip
        self.per, self.scale, self.initial, self.limit = per, scale, rate, limit
        self.rates = nn.ParameterDict()

    def attach(self, sites: Sequence[AnySite]) -> None:
        """Create the rates of these plastic sites."""
        for site in sites:
            post, pre = site.shape
            shape = {
                "synapse": (post, pre), "neuron": (post, 1), "feature": (1, pre), "layer": (1, 1),
                "shared": (1, 1),
            }[self.per]  # fmt: skip
            key = "shared" if self.per == "shared" else site.key
            if key not in self.rates:
                self.rates[key] = self._parameter(shape)
            if self.moves_bias and site.has_bias and self.per != "shared":
                units = (site.units,) if self.per in ("synapse", "neuron") else (1,)
                self.rates[site.bias_key] = self._parameter(units)

    def _parameter(self, shape: tuple[int, ...]) -> nn.Parameter:
        initial = self.initial
        if self.scale == "log":
            initial = 0.0
        elif self.scale == "bounded":
            initial = float(torch.atanh(torch.tensor(initial / self.limit, dtype=torch.float64)))
        return nn.Parameter(torch.full(shape, initial), requires_grad=self.options["learn"])

    def rate(self, site: AnySite) -> Tensor:
        """The plasticity coefficients of a site, broadcastable to `post pre`."""
        return self._coefficient(self.rates["shared" if self.per == "shared" else site.key])

    def bias_rate(self, site: AnySite) -> Tensor:
        """The coefficients of its bias, broadcastable to `post`."""
        if self.per == "shared":
            return self._coefficient(self.rates["shared"])[0]
        return self._coefficient(self.rates[site.bias_key])

    def _coefficient(self, parameter: Tensor) -> Tensor:
        if self.scale == "log":
            return self.initial * parameter.exp()
        if self.scale == "bounded":
            return self.limit * parameter.tanh()
        return parameter

    def promises(self, name: Promise) -> bool:
        """Whether the class that defines `delta` declares this promise about it."""
        return name in self._promised

    def equation(self) -> str:
        """The change of a weight in one line: the rule's formula, with its numbers if it can."""
        return self.formula or (inspect.getdoc(type(self)) or "").partition("\n")[0]

    @abstractmethod
    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        """The change of `weight`, summed over rows.

        Args:
            weight: `tasks post pre`, before the step.
            pre: `tasks rows pre`, presynaptic activity.
            post: `tasks rows post`, the site's own activity, after its nonlinearity.
            signal: `tasks rows post`, delivered by the feedback pathway.
            rate: broadcastable to `post pre`.
        """

    def two_sided_delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, back: Tensor, rate: Tensor
    ) -> Tensor:
        """As `delta`, and called in its place for a rule that is `two_sided`.

        `back` is the signal at the presynaptic units, `tasks rows pre`.
        """
        return self.delta(weight, pre, post, signal, rate)

    def delta_with_traces(
        self,
        weight: Tensor,
        pre: Tensor,
        post: Tensor,
        signal: Tensor,
        rate: Tensor,
        traces: Traces,
        step: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `delta`, for a rule that declares `traces`: the change, and the traces after it.

        Args:
            traces: by name, each shaped as the weight.
            step: how many steps the lifetime has had, this one included.
        """
        return self.delta(weight, pre, post, signal, rate), dict(traces)

    def from_outer(
        self, weight: Tensor, outer: Tensor, rate: Tensor, traces: Traces, step: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `delta_with_traces`, of a rule that promises `of_outer`.

        `outer` is `outer_product(signal, pre)`, which a convolution has without its rows.
        """
        raise NotImplementedError(f"{type(self).__name__} promises of_outer without from_outer.")

    def along(
        self, push: Tensor, rate: Tensor, traces: Traces, step: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The change of a parameter that is no synapse (a bias, the scale of a norm, an embedding).

        Args:
            push: the negative gradient that the signals give it.
            traces: by name, each of its shape.
        """
        return rate * push, dict(traces)

    def finish(self, gradient: Tensor) -> Tensor:
        """The gradient of a site's weight as `Credit.backward` hands it to an optimizer."""
        return gradient

    def penalty(self) -> Tensor | None:
        """The penalty on the rule that meta-training adds to the loss; None for no penalty."""
        return None
