"""Sampling in a thread: the same runs, nothing beyond their end, errors where they belong."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

from metaplastic.episode import Episode
from metaplastic.outer.sampling_ahead import SamplingAhead
from metaplastic.outer.trainer import MetaTrainer
from metaplastic.outer.trainer_config import TrainerConfig
from metaplastic.support.seeding import seeded
from tasks.clusters import Clusters
from tests.helpers.small_runs import small_learner


class Watched:
    """Clusters, with the thread of every sample."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.inner, self.threads, self.fails_at = Clusters(), list[str](), fails_at

    @property
    def spec(self) -> Any:
        return self.inner.spec

    def sample(self, tasks: int, generator: torch.Generator) -> Episode:
        self.threads.append(threading.current_thread().name)
        if len(self.threads) - 1 == self.fails_at:
            raise RuntimeError("The file is gone.")
        return self.inner.sample(tasks, generator)


def run(stream: Any, steps: int, ahead: bool | None) -> MetaTrainer:
    learner = small_learner(stream)
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.1)
    return MetaTrainer(learner, stream, optimizer, TrainerConfig(steps=steps), sample_ahead=ahead)


def test_a_run_is_the_same_and_samples_no_more() -> None:
    streams = Watched(), Watched()
    runs = [run(stream, 5, ahead) for stream, ahead in zip(streams, (False, True), strict=True)]
    for trainer in runs:
        trainer.fit()
    assert set(streams[0].threads) == {"MainThread"}
    assert [name.partition("_")[0] for name in streams[1].threads] == ["MainThread"] + [
        "sampling"
    ] * 4
    for one, other in zip(*(r.learner.parameters() for r in runs), strict=True):
        assert torch.equal(one, other)
    assert not [t for t in threading.enumerate() if t.name.startswith("sampling")]


def test_on_the_cpu_the_default_is_no_thread() -> None:
    stream = Watched()
    run(stream, 3, None).fit()
    assert set(stream.threads) == {"MainThread"}


def test_an_error_is_that_of_its_own_meta_step() -> None:
    trainer = run(Watched(fails_at=2), 5, True)
    trainer.advance()
    trainer.advance()
    with pytest.raises(RuntimeError, match=r"The file is gone\."):
        trainer.advance()
    assert trainer.step == 2


def test_a_restored_run_samples_from_its_own_step() -> None:
    stream = Clusters()

    def sample(step: int) -> Episode:
        return stream.sample(2, seeded(0, step))

    ahead = SamplingAhead(sample, 6)
    for step in (0, 4, 5, 2):  # of 1, 5 and 3 the next is begun, and only that of 5 is needed
        for one, other in zip(ahead(step), sample(step), strict=True):
            assert torch.equal(one, other)
    ahead.close()


def test_a_stream_that_seeds_everything_is_refused() -> None:
    stream = Watched()
    stream.seeds_everything = True  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="Watched seeds the generators of the whole program"):
        run(stream, 3, True)
