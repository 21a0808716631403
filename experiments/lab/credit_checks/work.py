"""Measurements for several seeds, in parallel processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import replace
from typing import Any, Protocol

import torch

from experiments.lab.credit_checks.config import Credit
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
        if jobs == 1:
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            try:
                for work, seed in wanted:
                    done[work, seed] = work.measure(seed)
                    report(len(done))
            finally:
                torch.set_num_threads(threads)
        else:
            # Spawned: a forked child of a process that has used torch may wait for its threads.
            with ProcessPoolExecutor(
                jobs, multiprocessing.get_context("spawn"), torch.set_num_threads, (1,)
            ) as pool:
                futures: dict[Future[Measured], tuple[Work, int]] = {
                    pool.submit(work.measure, seed): (work, seed) for work, seed in wanted
                }
                try:
                    for future in as_completed(futures):
                        done[futures[future]] = future.result()
                        report(len(done))
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
    return {name: [done[work, seed] for seed in seeds] for name, work in works.items()}
