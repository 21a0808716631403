"""The weight mirror: feedback learns by Hebb's rule from noise and the outputs for it."""

from __future__ import annotations

import torch
from torch import Tensor

from metaplastic.alignment.base import Alignment, AtSite, Coefficient, Shared
from metaplastic.sites.products import Product
from metaplastic.support.noise import xavier_deviation
from metaplastic.support.ranges import check_number

AT_ONCE = 256  # rows of noise that are in memory at a time


class MirrorAlignment(Alignment):
    """`dB = rate y x^T - decay B`, x white noise, y = W x, averaged over examples and positions.

    Akrout et al. (2019), with the mean over examples and positions in place of their sum. With W
    held, B converges to `rate deviation^2 / decay W`. Noise is sampled at each site independently,
    in the shape of the site's input.

    Args:
        examples: the number of noise inputs in a step; None for that of the step's examples.
        rows: in the place of `examples`, the least number of rows (inputs times positions), so that
            a convolution, which has many positions, takes as much noise as a Linear. With rate and
            decay of 1 a step sets B to its estimate of W from these rows: of n inputs a unit, off
            by an angle of about `atan(sqrt(n / rows))`.
    """

    coefficients = ("rate", "decay", "deviation")
    of_inputs = ("deviation",)
    sees_change = False
    sees_inputs = True

    def __init__(
        self,
        *,
        rate: Coefficient = 0.01,
        decay: Coefficient = 0.01,
        deviation: Coefficient = 1.0,
        examples: int | None = None,
        rows: int | None = None,
        noise: float = 0.0,
        learn: bool = False,
        per: Shared = "shared",
    ) -> None:
        for name, value in (("rate", rate), ("decay", decay), ("deviation", deviation)):
            if not callable(value):
                check_number(name, value)
        for name, count in (("examples", examples), ("rows", rows)):
            if count is not None:
                check_number(name, count, least=1, integer=True)
        if examples is not None and rows is not None:
            raise ValueError(
                f"examples is {examples} and rows is {rows}, and each says how much noise a step "
                "has; give one of them."
            )
        super().__init__(
            rate=rate, decay=decay, deviation=deviation, examples=examples, rows=rows, noise=noise,
            learn=learn, per=per,
        )  # fmt: skip

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        rate, deviation = self.value("rate", site), self.value("deviation", site)
        change = -self.value("decay", site) * feedback
        for number, call in enumerate(site.calls):
            examples, parts = self._amount(call, site.weight)
            for part in range(parts):
                # The first part has the noise that it has where there is no other.
                name = f"mirror {number} {part}" if part else f"mirror {number}"
                x = deviation * site.noise((examples, *call.x.shape[1:]), name)
                y = call.run(x, site.weight)
                rows = call.operation.post_rows(y, call.view(site.weight)).shape[1]
                change = change + rate / (rows * parts) * call.outer(y, x, feedback)
        return change  # type: ignore[no-any-return]

    def _amount(self, call: Product, weight: Tensor) -> tuple[int, int]:
        """Noise inputs of a part, and the number of parts, each of which fits into memory."""
        wanted = self.options["rows"]
        if wanted is None:
            return self.options["examples"] or call.x.shape[0], 1
        like = torch.empty(weight.shape, device="meta")
        y = call.run(torch.empty(1, *call.x.shape[1:], device="meta"), like)
        examples = -(-wanted // call.operation.post_rows(y, call.view(like)).shape[1])
        parts = max(1, min(examples, wanted // AT_ONCE))
        return -(-examples // parts), parts


class ResampledSizes(Alignment):
    """Sizes of sign-symmetric feedback, sampled anew in every step.

    Moskovitz, Litwin-Kumar & Abbott (2018): batchwise random-magnitude sign-symmetric feedback.

    Args:
        scale: multiplies the Xavier deviation.
    """

    sees_change = False

    def __init__(self, *, scale: float = 1.0, noise: float = 0.0) -> None:
        super().__init__(scale=scale, noise=noise)
        self.options = {"scale": scale, "noise": noise}

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        size = self.options["scale"] * xavier_deviation(site.weight)
        return site.noise(feedback.shape, "sizes").abs() * size - feedback  # type: ignore[no-any-return]
