"""Kolen-Pollack: feedback gets the change of its weight, and both decay equally."""

from __future__ import annotations

import torch
from torch import Tensor

from metaplastic.alignment.base import Alignment, AtSite, Shared
from metaplastic.support.ranges import check_number


class KolenPollackAlignment(Alignment):
    """`dB = gain dW + decay (W - B)`: `W - B` shrinks by `1 - decay` a step.

    Kolen & Pollack (1994), as brought to deep networks by Akrout et al. (2019). If weight and
    feedback get the same change and both decay by `decay` a step, this is the feedback's change,
    with any optimizer or plasticity rule. W is the weight before the step.

    Args:
        decay: the share lost in a step.
        gain: the share of the weight's change that the feedback gets.
    """

    coefficients = ("decay", "gain")

    def __init__(
        self,
        *,
        decay: float = 1e-3,
        gain: float = 1.0,
        noise: float = 0.0,
        learn: bool = False,
        per: Shared = "shared",
    ) -> None:
        check_number("decay", decay)
        check_number("gain", gain)
        if decay > 1:
            raise ValueError(f"decay is {decay}; it is the share lost in a step, from 0 to 1.")
        super().__init__(decay=decay, gain=gain, noise=noise, learn=learn, per=per)

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        change = site.change if self.is_exact("gain") else self.value("gain", site) * site.change
        if self.zero("decay"):
            return change
        return change + self.value("decay", site) * (site.before - feedback)  # type: ignore[no-any-return]

    @property
    def reads_before(self) -> bool:
        """Without a decay the change is all there is, unless a subclass follows otherwise."""
        return type(self).follow is not KolenPollackAlignment.follow or not self.zero("decay")

    def is_exact(self, name: str) -> bool:
        """Whether a coefficient is 1 at all steps."""
        return self.options[name] == 1 and not self.learn


class ProductAlignment(Alignment):
    """`dR = F^T dW - decay R`, for feedback `ProductFeedback`, with dW without the decay of W.

    After the code of product feedback alignment (2025): a gradient step at the intermediate units,
    and equal decay of both, so F R aligns with W without a copy of it.
    """

    coefficients = ("decay",)

    def __init__(
        self,
        *,
        decay: float = 1e-3,
        noise: float = 0.0,
        learn: bool = False,
        per: Shared = "shared",
    ) -> None:
        check_number("decay", decay)
        super().__init__(decay=decay, noise=noise, learn=learn, per=per)

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        post, decay = len(site.weight), self.value("decay", site)
        task = site.change + decay * site.before  # without the weight's own decay
        fixed, learned = feedback[:, :post], feedback[:, post:]
        change = fixed @ task.flatten(1) - decay * learned
        return torch.cat([torch.zeros_like(fixed), change], 1)
