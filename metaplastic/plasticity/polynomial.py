"""A polynomial plasticity rule: a sum of local terms with coefficients shared by all synapses.

With x and y the pre- and postsynaptic activity, b and s the signals at these units (each the
negative gradient, or what feedback has in its place) and W the weights,

    dW = sum over terms of coefficient * sum over rows of term

The first ten terms are F0 to F9 of Shervani-Tabar & Rosenbaum (2023, Nature Communications 14:1805,
eqs. 14 to 23), signs included, so that a coefficient here is the theta there; they write the error
e = -s, and e of the layer below = -b. The other terms are additions: plain Hebb, Oja's rule with
each unit's own decay, the same with the signal in the unit's place (Lindsey & Litwin-Kumar 2020),
and a product of three factors. At the readout y is the softmax of the logits, as in the paper.

The formulas, the softmax, the first value 1e-3 of F0 and 0 of all others, and the L1 penalty (eq.
6) are the paper's. It has neither biases nor convolutions; see `Polynomial` for these. Four terms
(F5 to F8) need a number that is summed over a layer, so they are local only if a layer can
broadcast one; Oja's subspace form (F9) needs W'y at the inputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from metaplastic.plasticity.base import AnySite, PlasticityRule
from metaplastic.plasticity.outer_product import outer_product
from metaplastic.plasticity.terms import POOL, POST, TERMS, LocalQuantities
from metaplastic.support.choices import check_choice, did_you_mean
from metaplastic.support.level import inverse_length

Positions = Literal["mean", "sum"]


class Polynomial(PlasticityRule):
    """A sum of local terms with learned coefficients that all synapses share.

    A bias is the weight of an input that is always 1: the first term, `signal_pre`, changes it by
    its coefficient, the others do not.

    Args:
        terms: names in `terms.TERMS`, each at most once.
        first: first values of coefficients, by name; those not named start at 0. By default 1e-3
            for `signal_pre`.
        l1: weight of the penalty, the sum of |coefficient|, that meta-training adds to the loss:
            coefficients of terms that do not improve it go to 0.
        positions: at a convolution, terms are averaged over positions, or summed as a gradient is.
        normalized: x and y are divided by the length of x, and b by its own, each a root mean
            square over rows (`support.level`). Where signals are leveled too, a coefficient is
            then a relative step, of the same size in layers of any width and at any scale of
            input. Not in the paper.
        learn: `False` freezes the coefficients.

    Raises:
        ValueError: for an unknown or repeated term or none, a first value of a term that is not
            there, or a negative penalty.
    """

    reads_answer = True

    def __init__(
        self,
        terms: Sequence[str] = POOL,
        *,
        first: Mapping[str, float] | None = None,
        l1: float = 0.0,
        positions: Positions = "mean",
        normalized: bool = False,
        learn: bool = True,
    ) -> None:
        super().__init__(per="shared", learn=learn)
        check_choice("positions", positions, Positions)
        terms = _checked(terms)
        if first is None:
            first = {"signal_pre": 1e-3} if "signal_pre" in terms else {}
        for name in first:
            if name not in terms:
                raise ValueError(
                    f"first names {name!r}, which is not among the terms {', '.join(terms)}; "
                    "leave it out, or add the term."
                )
        if not 0 <= l1 < math.inf:
            raise ValueError(f"l1 is {l1!r}; the weight of a penalty is 0 or more, and finite.")
        values = [float(first.get(name, 0.0)) for name in terms]
        self.options = {
            "terms": terms, "first": dict(zip(terms, values, strict=True)), "l1": l1,
            "positions": positions, "normalized": normalized, "learn": learn,
        }  # fmt: skip
        self.terms, self.penalty_weight, self.normalized = terms, l1, normalized
        self.coefficients = nn.Parameter(torch.tensor(values), requires_grad=learn)
        self.two_sided = any("b" in TERMS[name].text for name in terms)
        self.moves_bias = "signal_pre" in terms
        self.averages_positions = positions == "mean"
        heavy = {"post_agreement_back", "signal_agreement_pre", "post_guess_back"}
        self.light = not heavy & set(terms)  # no term needs a number summed over own weights

    def attach(self, sites: Sequence[AnySite]) -> None:
        """Creates nothing: the coefficients serve any network."""

    def rate(self, site: AnySite) -> Tensor:
        """The coefficients, `terms 1 1`; the same for every site."""
        return self.coefficients[:, None, None]

    def bias_rate(self, site: AnySite) -> Tensor:
        where = self.terms.index("signal_pre")
        return self.coefficients[where : where + 1]

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        """As `two_sided_delta`, without a presynaptic signal; `rate` is `terms 1 1`."""
        return self.two_sided_delta(weight, pre, post, signal, torch.zeros_like(pre), rate)

    def two_sided_delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, back: Tensor, rate: Tensor
    ) -> Tensor:
        if self.normalized:
            size = inverse_length(pre)
            pre, post, back = pre * size, post * size, back * inverse_length(back)
        seen, behind = LocalQuantities(weight, pre, post, signal, back), dict[str, Tensor]()
        for name, coefficient in zip(self.terms, rate.unbind(-3), strict=True):
            for sign, after, before in TERMS[name].products:
                part = sign * coefficient * POST[after](seen)
                behind[before] = behind[before] + part if before in behind else part
        change = torch.zeros_like(weight)
        for before, factor in behind.items():
            if before == "weight":
                change = change + factor.sum(1)[:, :, None] * weight
            else:
                other = torch.bmm(post, weight) if before == "reading" else getattr(seen, before)
                change = change + outer_product(factor, other)
        return change

    def values(self) -> dict[str, float]:
        """The coefficients by name."""
        return dict(zip(self.terms, self.coefficients.detach().tolist(), strict=True))

    def l1(self) -> Tensor:
        """The sum of |coefficient|."""
        return self.coefficients.abs().sum()

    def penalty(self) -> Tensor | None:
        return self.penalty_weight * self.l1() if self.penalty_weight else None

    def pruned(self, threshold: float) -> Polynomial:
        """A new rule of those terms alone whose |coefficient| is at least `threshold`.

        Raises:
            ValueError: if no term would be left.
        """
        values = self.values()
        kept = {name: value for name, value in values.items() if abs(value) >= threshold}
        if not kept:
            largest = max(map(abs, values.values()))
            raise ValueError(
                f"No term is left at threshold {threshold:g}; the largest coefficient is "
                f"{largest:.3g}, so choose a smaller one."
            )
        options = {name: self.options[name] for name in self.options.keys() - {"terms", "first"}}
        small = Polynomial(tuple(kept), first=kept, **options)
        return small.to(self.coefficients)

    def equation(self, threshold: float = 0.0) -> str:
        """The rule in one line, without the terms whose |coefficient| is below `threshold` or 0.

        Largest first. `'` is the transpose; sums over rows are omitted, and a normalized rule has
        its units in parentheses.
        """
        found = ""
        for name, value in sorted(self.values().items(), key=lambda item: -abs(item[1])):
            if value == 0 or abs(value) < threshold:
                continue
            text = TERMS[name].text
            negative = (value < 0) != text.startswith("-")
            sign = (" - " if negative else " + ") if found else ("-" if negative else "")
            found += f"{sign}{abs(value):.3g} {text.removeprefix('-')}"
        lengths = "  (x, y in units of |x|, b of |b|)" if self.normalized else ""
        return f"dW = {found or '0'}{lengths}"


def _checked(terms: Iterable[str]) -> tuple[str, ...]:
    terms = (terms,) if isinstance(terms, str) else tuple(terms)
    for name in terms:
        if name not in TERMS:
            raise ValueError(
                f"terms names {name!r}, which is not a term.{did_you_mean(name, TERMS)} "
                f"The terms are {', '.join(TERMS)}."
            )
    if not terms or len(set(terms)) < len(terms):
        raise ValueError(f"terms is {terms!r}; give at least one, and each once.")
    return terms
