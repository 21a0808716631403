"""Adaptive plasticity: each synapse divides its update by the running size of its updates.

A rule that is to travel has few numbers, none of them of one network: time constants of the two
traces, the course of the rate over a lifetime, and how it depends on the number of inputs, which a
unit knows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from metaplastic.plasticity.base import PlasticityRule, Traces
from metaplastic.plasticity.outer_product import outer_product
from metaplastic.support.ranges import check_number

INPUTS = 100  # of a unit whose rate is the same at every `fan_in`


class Adaptive(PlasticityRule):
    """`rate m / (sqrt(v) + small)`, m and v running means of `signal x pre` and of its square.

    The step of Adam (Kingma & Ba 2015, arXiv:1412.6980) as a local rule: two traces a synapse. Both
    means are corrected for their start at 0. A bias is the weight of an input that is always 1.

    Args:
        mean, square: the share of a trace that is kept in a step, from 0 to below 1.
        small: added to the root, so that a synapse without a signal does not change.
        decay: the rate falls as `(1 + step / decay) ** -power`; None for a rate that stays.
        power: of that fall.
        nesterov: the share of the step's own `signal x pre` in m, from 0 to 1.
        clip: the largest size of `m / (sqrt(v) + small)`; None for no bound.
        fan_in: the rate of a weight is multiplied by `(inputs / 100) ** -fan_in`. With 1, as of
            Adam in the maximal update parametrization (Yang et al. 2021, arXiv:2203.03466), one
            rate serves all widths.
        weight_decay: every step takes this share, times the rate, of a synapse's weight
            (Loshchilov & Hutter 2019, arXiv:1711.05101).
        learn_traces: whether `mean` and `square` are meta-learned, as logits.
        options: of every plasticity rule.

    Raises:
        ValueError: for a number out of its range.
    """

    moves_bias = True
    moves_others = True
    averages_positions = False
    relative = True
    ignores_post = True
    of_outer = True
    traces = ("mean", "square")

    def __init__(
        self,
        *,
        mean: float = 0.9,
        square: float = 0.99,
        small: float = 1e-8,
        decay: float | None = None,
        power: float = 0.5,
        nesterov: float = 0.0,
        clip: float | None = None,
        fan_in: float = 0.0,
        weight_decay: float = 0.0,
        learn_traces: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for name, value in (("mean", mean), ("square", square)):
            if not 0 <= value < 1:
                raise ValueError(
                    f"{name} is {value!r}; the share kept in a step is from 0 to below 1."
                )
        for name, horizon in (("decay", decay), ("clip", clip)):
            if horizon is not None and not 0 < horizon < math.inf:
                what = "a number of steps" if name == "decay" else "a number"
                raise ValueError(f"{name} is {horizon!r}; it is {what} above 0, or None.")
        if not 0 <= nesterov <= 1:
            raise ValueError(f"nesterov is {nesterov!r}; a share is from 0 to 1.")
        for name, value in (("power", power), ("weight_decay", weight_decay)):
            check_number(name, value)
        self.options |= {
            "mean": mean, "square": square, "small": small, "decay": decay, "power": power,
            "nesterov": nesterov, "clip": clip, "fan_in": fan_in, "weight_decay": weight_decay,
            "learn_traces": learn_traces,
        }  # fmt: skip
        self.small, self.decay, self.power, self.kept = small, decay, power, (mean, square)
        self.nesterov, self.clip = nesterov, clip
        self.fan_in, self.weight_decay = fan_in, weight_decay
        self.logits: nn.Parameter | None = None
        if learn_traces:
            start = torch.tensor([mean, square], dtype=torch.float64).clamp(1e-6, 1 - 1e-6)
            self.logits = nn.Parameter(torch.logit(start).to(torch.get_default_dtype()))

    def delta(
        self, weight: Tensor, pre: Tensor, post: Tensor, signal: Tensor, rate: Tensor
    ) -> Tensor:
        """The first step, from traces of 0."""
        still = {name: torch.zeros_like(weight) for name in self.traces}
        first = torch.ones((), dtype=torch.int64, device=weight.device)
        return self.delta_with_traces(weight, pre, post, signal, rate, still, first)[0]

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
        return self.from_outer(weight, outer_product(signal, pre), rate, traces, step)

    def from_outer(
        self, weight: Tensor, outer: Tensor, rate: Tensor, traces: Traces, step: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if self.fan_in:
            rate = rate * (weight.shape[-1] / INPUTS) ** -self.fan_in
        change, traces = self.along(outer, rate, traces, step)
        if self.weight_decay:
            change = change - self.weight_decay * self._at(step, rate) * weight
        return change, traces

    def along(
        self, push: Tensor, rate: Tensor, traces: Traces, step: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        keep: Sequence[float] | Tensor = self.kept
        lose: Sequence[float] | Tensor = [1 - kept for kept in self.kept]
        if self.logits is not None:
            # Near 1 what is lost would be a difference of roundings.
            keep, lose = self.logits.sigmoid(), (-self.logits).sigmoid()
        mean = torch.lerp(traces["mean"], push, lose[0])
        square = torch.lerp(traces["square"], push.square(), lose[1])
        count = step.to(push.dtype)
        first, second = (1 - keep[i] ** count for i in (0, 1))
        root, rate = second.sqrt(), self._at(step, rate)
        # The root of 0 has no derivative, so a little is added within it as well.
        spread = _root(square, second, root, self.small)
        # All scalars are in one factor: at one example a step reading the traces is what it costs.
        factor = root if self.clip is not None else rate * root
        top = mean * (factor / first)
        if _has_graph():
            if self.nesterov:
                top = top * (1 - self.nesterov) + self.nesterov * (push * factor)
            change = top / spread
        else:
            if self.nesterov:
                top.mul_(1 - self.nesterov).add_(push * factor, alpha=self.nesterov)
            change = top.div_(spread)
        if self.clip is not None:
            change = rate * change.clamp(-self.clip, self.clip)
        return change, {"mean": mean, "square": square}

    def equation(self) -> str:
        """The change of a weight, with the numbers of this rule."""
        rate = float(self.rates["shared"].detach()) if "shared" in self.rates else self.initial
        mean, square = self.kept if self.logits is None else self.logits.detach().sigmoid().tolist()
        factors = [f"{rate:.3g}"]
        factors += [f"(1 + t / {self.decay:.3g})^-{self.power:.3g}"] if self.decay else []
        factors += [f"(inputs / {INPUTS})^-{self.fan_in:.3g}"] if self.fan_in else []
        ahead = f"{1 - self.nesterov:.3g} m + {self.nesterov:.3g} s x'" if self.nesterov else "m"
        ratio = f"({ahead}) / (sqrt(v) + {self.small:.3g})"
        ratio = ratio if self.clip is None else f"clip({ratio}, {self.clip:.3g})"
        decay = f" - {self.weight_decay:.3g} W" if self.weight_decay else ""
        inner = f"[{ratio}{decay}]" if decay else ratio
        return (
            f"dW = {' '.join(factors)} {inner}, m and v running means of s x' and (s x')^2 that "
            f"keep {mean:.3g} and {square:.4g} a step, corrected for their start at 0"
        )

    def _at(self, step: Tensor, rate: Tensor) -> Tensor:
        """The rate at this step of a lifetime."""
        if self.decay is None:
            return rate
        return rate * (1 + step.to(rate.dtype) / self.decay) ** -self.power


def _has_graph() -> bool:
    """Whether autograd may keep what an operation reads; where not, it may be written over.

    A new tensor of the size of a weight costs more than the arithmetic on it.
    """
    return torch.is_grad_enabled()


def _root(square: Tensor, second: Tensor, root: Tensor, small: float) -> Tensor:
    """`sqrt(square + 1e-24 second) + small root`, in a new tensor.

    `alpha`, because a product of a number and a scalar under `vmap` makes a tensor on the host.
    """
    inner = torch.add(square, second, alpha=1e-24)
    if _has_graph():
        return torch.add(inner.sqrt(), root, alpha=small)
    return inner.sqrt_().add_(root, alpha=small)
