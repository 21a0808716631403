"""Measurements for several seeds, in parallel processes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from joblib import Parallel, delayed, parallel_config

from experiments.lab.credit_checks.config import Credit
from experiments.lab.runs.parent import end_with
from experiments.lab.runs.progress import progress

Measured = dict[str, Any]  # of one seed: JSON-able
Found = dict[str, list[Measured]]  # by name of the work, in the order of seeds


class Work(Protocol):
    """A frozen dataclass: everything that decides its result but the seed."""

    def measure(self, seed: int) -> Measured: ...

    def reduced(self) -> Work:
        """The same in a few seconds, on less data."""
        ...


def prepared(works: Mapping[str, Work], config: Credit) -> dict[str, Work]:
    """The works with the data folder of this command, and of the size it asks for."""
    placed = works
    if config.data is not None:
        placed = {
            name: replace(work, root=str(config.data)) if hasattr(work, "root") else work  # type: ignore[type-var]
            for name, work in works.items()
        }
    return {name: work.reduced() if config.reduced else work for name, work in placed.items()}


def measured(works: Mapping[str, Work], seeds: Sequence[int], jobs: int, title: str) -> Found:
    """Every work for every seed, equal works once; each in one thread of one of `jobs` processes.

    Raises:
        the first exception of a work; works not yet started are cancelled.
    """
    wanted = list(dict.fromkeys((work, seed) for work in works.values() for seed in seeds))
    done: dict[tuple[Work, int], Measured] = {}
    with progress(title, len(wanted)) as report:
        calls = (delayed(_measured_alone)(work, seed) for work, seed in wanted)
        with parallel_config("loky", initializer=end_with, initargs=(os.getpid(),)):
            for pair, measured_one in Parallel(jobs, return_as="generator_unordered")(calls):
                done[pair] = measured_one
                report(len(done))
    return {name: [done[work, seed] for seed in seeds] for name, work in works.items()}


def _measured_alone(work: Work, seed: int) -> tuple[tuple[Work, int], Measured]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return (work, seed), work.measure(seed)
    finally:
        torch.set_num_threads(threads)
