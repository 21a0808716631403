"""The weight mirror: feedback learns by Hebb's rule from noise and the outputs for it."""

from __future__ import annotations

from torch import Tensor

from metaplastic.alignment.base import Alignment, AtSite, Coefficient, Shared
from metaplastic.support.noise import xavier_deviation
from metaplastic.support.ranges import check_number


class MirrorAlignment(Alignment):
    """`dB = rate y x^T - decay B`, x white noise, y = W x, averaged over examples and positions.

    Akrout et al. (2019), with the mean over examples and positions in place of their sum. With W
    held, B converges to `rate deviation^2 / decay W`. Noise is sampled at each site independently,
    in the shape of the site's input.

    Args:
        examples: the number of noise inputs in a step; None for that of the step's examples.
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
        noise: float = 0.0,
        learn: bool = False,
        per: Shared = "shared",
    ) -> None:
        for name, value in (("rate", rate), ("decay", decay), ("deviation", deviation)):
            if not callable(value):
                check_number(name, value)
        if examples is not None:
            check_number("examples", examples, least=1, integer=True)
        super().__init__(
            rate=rate, decay=decay, deviation=deviation, examples=examples, noise=noise,
            learn=learn, per=per,
        )  # fmt: skip

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        rate, deviation = self.value("rate", site), self.value("deviation", site)
        change = -self.value("decay", site) * feedback
        for number, call in enumerate(site.calls):
            size = call.x.shape
            shape = (self.options["examples"] or size[0], *size[1:])
            x = deviation * site.noise(shape, f"mirror {number}")
            y = call.run(x, site.weight)
            rows = call.operation.post_rows(y, call.view(site.weight)).shape[1]
            change = change + rate / rows * call.outer(y, x, feedback)
        return change  # type: ignore[no-any-return]


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
