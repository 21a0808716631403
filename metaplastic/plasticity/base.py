"""Plasticity rules: how a site turns what it can see into a change of its weights.

Locality is the signature. `delta` is given one site's weight and activity and nothing else, so a
rule that type-checks is a rule a synapse could follow. A rule is given its rate, because not
every rule is linear in it (`StableOja`), and returns the change summed over rows; constant factors
such as 1/batch are in the rate already (see `rule`).

A new rule is one class with one method:

    class Decay(PlasticityRule):
        def delta(self, weight, pre, post, signal, rate):
            return -rate * weight
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from metaplastic.plasticity.coincidence import coincidence
from metaplastic.sites.shape import SiteShape
from metaplastic.stacked.site import Site
from metaplastic.support.choices import check_choice
from metaplastic.support.recorded import Recorded

Granularity = Literal["synapse", "neuron", "feature", "layer", "shared"]
Scale = Literal["raw", "log", "bounded"]
AnySite = Site | SiteShape
Traces = Mapping[str, Tensor]


class PlasticityRule(Recorded, nn.Module, ABC):
    """Rates for every plastic site, and the abstract change `delta`.

    Args:
        rate: initial plasticity coefficient of every synapse.
        per: what shares one coefficient: `synapse` (nobody), `neuron` (a postsynaptic unit's
            inputs), `feature` (a presynaptic unit's outputs, so a readout may grow), `layer`,
            `shared` (all layers).
        scale: `raw`, the coefficient is the parameter (published); `log`, it is
            `rate * exp(parameter)`, always of the sign of `rate` and learned in relative steps;
            `bounded`, it is `limit * tanh(parameter)`, so no meta-step can leave the stable range.
        limit: the bound of `bounded`.
        learn: `False` freezes all rates.

    Raises:
        ValueError: for an unknown choice, or a first rate that the scale cannot express.
    """

    moves_bias = False  # does the rule change biases as well? FLP's rules do not
    # Does it also change what is at no site (norms, embeddings), along their gradient?
    moves_others = False
    averages_positions = True  # a convolution's change is the mean over positions, not the sum
    # Does `delta` promise that a row of the change depends on nothing but that row of the weight,
    # the input and the row's own signal, is zero without a signal, and does not read `post`? Then
    # one-hot lessons to a readout are learned row by row (`rows`). A new `delta` must say so anew.
    by_row = False
    # Does `delta` promise to be `rate * coincidence(signal, pre)`? Then the step may take the short
    # way of `grown`. This, too, a new `delta` must say anew.
    outer = False
    # Does `delta` promise not to read `post`? Then activities need not be followed. Anew, too.
    ignores_post = False
    two_sided = False  # does the change depend on what the presynaptic units hear, too?
    reads_answer = False  # is the readout's `post` its answer (a softmax), not its logits?
    # Is a step of the same size however large the sums are? Then it is not divided by the batch.
    relative = False
    traces: ClassVar[tuple[str, ...]] = ()  # names of what every synapse remembers, 0 at first

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
        """Make the rates of these plastic sites."""
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
                units = (post,) if self.per in ("synapse", "neuron") else (1,)
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

    def promises(self, name: Literal["by_row", "outer", "ignores_post"]) -> bool:
        """Whether the class that wrote `delta` says so: a promise is for one `delta`, not heirs."""
        owner = next(kind for kind in type(self).__mro__ if "delta" in vars(kind))
        return bool(vars(owner).get(name, False))

    @abstractmethod
    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        """The change of `weight`, summed over rows.

        Args:
            weight: `tasks post pre`, before the step.
            pre: `tasks rows pre`, presynaptic activity.
            post: `tasks rows post`, the site's own activity, after its nonlinearity.
            signal: `tasks rows post`, what the feedback pathway delivers.
            rate: broadcastable to `post pre`.
        """

    def two_sided_delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, back: Tensor, rate: Tensor
    ) -> Tensor:
        """As `delta`, and asked in its place of a rule that is `two_sided`.

        `back` is what the presynaptic units hear, `tasks rows pre`.
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

    def along(
        self, push: Tensor, rate: Tensor, traces: Traces, step: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The change of what is no synapse (a bias, the scale of a norm, an embedding).

        Args:
            push: where it should go, the negative gradient that the signals give it.
            traces: by name, each of its shape.
        """
        return rate * push, dict(traces)

    def finish(self, gradient: Tensor) -> Tensor:
        """What an optimizer is given as the gradient of a site's weight, by `Credit.backward`."""
        return gradient

    def penalty(self) -> Tensor | None:
        """What meta-training adds to the loss: a price on the rule itself. By default nothing."""
        return None


class Hebb(PlasticityRule):
    """`rate * sum over rows of p x^T`: fire together, wire together; p is the clamped activity."""

    ignores_post = True
    by_row = True
    outer = True

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        return rate * coincidence(signal, pre)


class Oja(PlasticityRule):
    """Hebb with just enough forgetting: `rate * sum over rows of (p x^T - p^2 W)`.

    Oja (1982), with the clamped activity p in place of the neuron's own output, as in Lindsey &
    Litwin-Kumar (2020); both terms are summed over rows, as in their code. A rate may be negative.
    """

    ignores_post = True
    by_row = True

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        growth = coincidence(signal, pre)
        forgetting = signal.square().sum(1)[:, :, None] * weight
        return rate * (growth - forgetting)


class StableOja(PlasticityRule):
    """Oja's rule by an implicit step, which cannot overshoot however large the drive.

    Oja's explicit step multiplies a weight by `1 - a s`, s the summed squared activity of its
    neuron; once `a s > 2` the weights oscillate and grow without bound, which is how error-taught
    Oja networks die. Taking the forgetting at the *new* weight gives
    `W' = (W + a growth) / (1 + a s)`: the same rule to first order in a, the same fixed point,
    and a contraction for every `a > 0`. A negative rate would meet a pole, so its absolute
    value is used for forgetting.
    """

    ignores_post = True
    by_row = True

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        growth = coincidence(signal, pre)
        power = signal.square().sum(1)[:, :, None]
        return (rate * growth - rate.abs() * power * weight) / (1 + rate.abs() * power)


class NormalizedHebb(PlasticityRule):
    """Hebb divided by the power of its input: `rate * sum of p x^T / (1e-3 + mean of |x|^2)`.

    Normalized least mean squares (Nagumo & Noda 1967). A readout taught by its error overshoots
    once `rate * |x|^2` passes 2; here that bound is on the rate alone, the same for every site and
    every scale of activity, so meta-training may start from large rates. The power is of all
    inputs of a neuron: the divisive normalization of a layer, not the business of one synapse.
    """

    ignores_post = True
    by_row = True

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        power = pre.square().sum(-1).mean(1)[:, None, None]
        return rate * coincidence(signal, pre) / (1e-3 + power)


class Delta(PlasticityRule):
    """The delta rule: Hebb on a negative gradient; biases move too. With `Backprop`, plain SGD."""

    ignores_post = True
    outer = True
    moves_bias = True
    moves_others = True
    averages_positions = False  # the gradient of a convolution is the sum over its positions

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        return rate * coincidence(signal, pre)
