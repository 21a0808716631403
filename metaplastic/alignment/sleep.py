"""Sleep: a phase of mirror steps at the start of a lifetime and, as an option, every m steps."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from metaplastic.alignment.base import Alignment, AtSite
from metaplastic.alignment.kolen_pollack import KolenPollackAlignment
from metaplastic.alignment.mirror import MirrorAlignment
from metaplastic.sites.shape import SiteShape
from metaplastic.support.ranges import check_number


class Sleep(Alignment):
    """Two alignment rules: `asleep`, driven by noise alone, and `awake`, after every step.

    During sleep the weights are fixed. Its noise is a function of (seed, site, step), the same on
    every device and after a resumption.

    Args:
        awake: the rule after every step; Kolen-Pollack without decay by default.
        asleep: the rule of a sleeping step; a mirror by default.
        at_start: sleeping steps before the first step of a lifetime.
        every: the number of steps between further phases of sleep; None for no further ones.
        steps: sleeping steps of each further phase; `at_start` by default.
    """

    def __init__(
        self,
        *,
        awake: Alignment | None = None,
        asleep: Alignment | None = None,
        at_start: int = 100,
        every: int | None = None,
        steps: int | None = None,
    ) -> None:
        check_number("at_start", at_start, integer=True)
        for name, value in (("every", every), ("steps", steps)):
            if value is not None:
                check_number(name, value, least=1, integer=True)
        super().__init__()
        self.awake = awake or KolenPollackAlignment(decay=0.0)
        self.asleep = asleep or MirrorAlignment(rate=0.05, decay=0.05, examples=16)
        self.at_start, self.every = at_start, every
        self.for_steps = at_start if steps is None else steps
        self.options = {
            "awake": self.awake, "asleep": self.asleep, "at_start": at_start, "every": every,
            "steps": steps,
        }  # fmt: skip
        self.noise = self.awake.noise
        self.sees_inputs = self.awake.sees_inputs

    @property
    def sees_change(self) -> bool:  # type: ignore[override]
        """As the rule that is awake."""
        return self.awake.sees_change

    @property
    def reads_before(self) -> bool:
        """As the rule that is awake."""
        return self.awake.reads_before

    @property
    def scheduled(self) -> bool:
        """Whether either rule has a coefficient that is a function of the step's number."""
        return self.awake.scheduled or self.asleep.scheduled

    def attach(self, sites: Sequence[SiteShape]) -> None:
        self.awake.attach(sites)
        self.asleep.attach(sites)

    def follow(self, feedback: Tensor, site: AtSite) -> Tensor | None:
        return self.awake.follow(feedback, site)

    def due(self, step: int) -> int:
        """Sleeping steps that are due before the step of this number, from 0."""
        if step == 0:
            return self.at_start
        return self.for_steps if self.every is not None and step % self.every == 0 else 0
