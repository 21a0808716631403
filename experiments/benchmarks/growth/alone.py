"""The peak memory of each size in a process of its own.

The processes are forked from one that has imported all and done nothing else: all start from the
same memory, and none takes the seconds of an import.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import torch

from experiments.benchmarks.growth.axes import AXES
from experiments.benchmarks.memory import peak_mb

# Freed memory is given back (glibc), so that the peak does not depend on the holes imports left.
GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536"}


def each_alone(name: str, sizes: Sequence[int]) -> list[float]:
    """`megabytes` of these sizes of an axis."""
    forking = get_context("forkserver")
    forking.set_forkserver_preload([__name__])
    with (
        environment(GIVEN_BACK),
        ProcessPoolExecutor(1, mp_context=forking, max_tasks_per_child=1) as pool,
    ):
        return list(pool.map(megabytes, [name] * len(sizes), sizes))


def megabytes(name: str, size: int) -> float:
    """Peak memory of a call in this process, beyond imports and what a tiny call has loaded."""
    torch.set_num_threads(1)
    AXES[name].tiny()()
    before = peak_mb()
    AXES[name].make(size)()
    return peak_mb() - before


@contextmanager
def environment(added: dict[str, str]) -> Iterator[None]:
    """Variables of processes that start within."""
    kept = dict(os.environ)
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
        os.environ.update({name: kept[name] for name in added if name in kept})
