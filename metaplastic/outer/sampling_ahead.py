"""Meta-batches sampled in a thread while the meta-step before is taken.

What is sampled depends on the seed and the number of the meta-step alone, so a run is the same with
the thread as without it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch

from metaplastic.episode import Episode, TaskStream
from metaplastic.support.seeding import seeded

if TYPE_CHECKING:
    from metaplastic.outer.trainer_config import TrainerConfig


class SamplingAhead:
    """What `sample` gives for one meta-step after another, the next of which is begun already.

    Args:
        sample: number of a meta-step -> its meta-batch.
        steps: meta-steps of the run; nothing is sampled for later ones.
    """

    def __init__(self, sample: Callable[[int], Episode], steps: int) -> None:
        self.sample, self.steps = sample, steps
        self._thread: ThreadPoolExecutor | None = None
        self._next: tuple[int, Future[Episode]] | None = None

    def __call__(self, step: int) -> Episode:
        """The meta-batch of a meta-step; an error in sampling it is raised here."""
        begun, self._next = self._next, None
        if begun is not None and begun[0] == step:
            found = begun[1].result()
        else:
            if begun is not None:  # a restored run goes on from another step
                begun[1].cancel()
            found = self.sample(step)
        if step + 1 < self.steps:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, "sampling")
            self._next = step + 1, self._thread.submit(self.sample, step + 1)
        return found

    def close(self) -> None:
        """End the thread; the object can be used again."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
        self._thread = self._next = None


def sampler(
    stream: TaskStream, config: TrainerConfig, device: torch.device, ahead: bool | None
) -> Callable[[int], Episode]:
    """Number of a meta-step -> its meta-batch; `ahead` is as `MetaTrainer` is given it.

    A stream draws from the generator that it is given. One that seeds the generators of the whole
    program, as `tasks.taskset` has to, says so by `seeds_everything = True`: in a thread it would
    disturb the meta-step beside it.

    Raises:
        ValueError: for `ahead` on such a stream.
    """
    alone = not getattr(stream, "seeds_everything", False)
    if ahead and not alone:
        raise ValueError(
            f"sample_ahead is True, but {type(stream).__name__} seeds the generators of the whole "
            "program, which a meta-step reads meanwhile; leave it out."
        )

    def sample(step: int) -> Episode:
        return stream.sample(config.tasks, seeded(config.seed, step))

    if ahead is None:
        ahead = device.type != "cpu" and alone
    return SamplingAhead(sample, config.steps) if ahead else sample
