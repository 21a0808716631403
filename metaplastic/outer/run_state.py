"""The state of a run between two meta-steps, as a checkpoint holds it."""

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
    """The learner, the optimizer, the schedule, and two counters."""

    learner: OnlineLearner
    optimizer: Optimizer
    schedule: LRScheduler | None
    step: int = 0  # meta-steps done
    skipped: int = 0  # meta-steps skipped in a row, up to now

    def count(self, used: bool) -> None:
        """Count a meta-step, whose gradient was `used` or skipped."""
        with warnings.catch_warnings():
            # torch warns if the schedule steps before the optimizer: the first step was skipped.
            warnings.simplefilter("ignore")
            if self.schedule is not None:
                self.schedule.step()
        self.step += 1
        self.skipped = 0 if used else self.skipped + 1

    def pack(self, identity: dict[str, Any]) -> dict[str, Any]:
        """The content of a checkpoint of the run with this `identity`."""
        return {
            "identity": identity,
            "step": self.step,
            "skipped": self.skipped,
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
        }

    def unpack(self, saved: dict[str, Any], identity: dict[str, Any]) -> None:
        """Restore the saved state.

        Raises:
            CheckpointError: if it was saved by a run with another identity.
        """
        check_identity(saved["identity"], identity)
        self.learner.load_state_dict(saved["learner"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(saved["schedule"])
        self.step, self.skipped = saved["step"], saved["skipped"]
