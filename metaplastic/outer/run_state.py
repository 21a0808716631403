"""Everything that a run is between two meta-steps; what is not here is derived."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from metaplastic.outer.identity import check_identity

if TYPE_CHECKING:
    from metaplastic.inner.learner import OnlineLearner


@dataclass
class RunState:
    """The learner, what moves it, and two counters."""

    learner: OnlineLearner
    optimizer: Optimizer
    schedule: LRScheduler | None
    step: int = 0  # meta-steps done
    skipped: int = 0  # meta-steps skipped in a row, up to now

    def count(self, used: bool) -> None:
        """One more meta-step is done, and its gradient was `used` or skipped."""
        with warnings.catch_warnings():
            # Where the very first meta-step was skipped, torch misses a call of the optimizer.
            warnings.simplefilter("ignore")
            if self.schedule is not None:
                self.schedule.step()
        self.step += 1
        self.skipped = 0 if used else self.skipped + 1

    def pack(self, identity: dict[str, Any]) -> dict[str, Any]:
        """What a checkpoint of the run with this `identity` holds."""
        return {
            "identity": identity,
            "step": self.step,
            "skipped": self.skipped,
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
        }

    def unpack(self, saved: dict[str, Any], identity: dict[str, Any]) -> None:
        """Become what was saved.

        Raises:
            CheckpointError: if it was saved by a run with another identity.
        """
        check_identity(saved["identity"], identity)
        self.learner.load_state_dict(saved["learner"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(saved["schedule"])
        self.step, self.skipped = saved["step"], saved["skipped"]
