"""Clocks and memory: what every row measures with."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any, Protocol, runtime_checkable

import torch

from experiments.benchmarks import Finding
from experiments.benchmarks.memory import peak_mb

Work = Callable[[], Any]


@runtime_checkable
class Elsewhere(Protocol):
    """A candidate in another process, which reads its own clock."""

    def fastest(self, calls: int) -> float: ...


def seconds(work: Work, calls: int = 1) -> float:
    """Wall-clock seconds of one call, over `calls` in a row; an accelerator is waited for."""
    settle()
    start = time.perf_counter()
    for _ in range(calls):
        work()
    settle()
    return (time.perf_counter() - start) / calls


def settle() -> None:
    """Wait until an accelerator, if there is one, has done what it was given."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def interleaved(candidates: dict[str, Work], repeat: int, calls: int = 5) -> dict[str, list[float]]:
    """Seconds of every candidate in each of `repeat` rounds, one after another within a round.

    A round calls each candidate once unmeasured, because the one before has left its own memory
    in the caches, and then takes the fastest of `calls`: other users of a machine only ever add.
    What they add to a round they add to all, so ratios can be trusted where times cannot.
    """
    found: dict[str, list[float]] = {name: [] for name in candidates}
    for work in candidates.values():
        work()  # compiles, allocates
    for _ in range(repeat):
        for name, work in candidates.items():
            if isinstance(work, Elsewhere):
                found[name].append(work.fastest(calls))
                continue
            work()
            found[name].append(min(seconds(work) for _ in range(calls)))
    return found


def versus(
    what: str, times: dict[str, list[float]], baseline: str, ours: str, goal: float
) -> Finding:
    """The ratio of two candidates, round by round."""
    ratios = [b / o for b, o in zip(times[baseline], times[ours], strict=True)]
    middle, slow, fast = median(ratios), median(times[baseline]), median(times[ours])
    return Finding(
        what=f"{what}: {baseline} / {ours}",
        result=f"{middle:.1f} ({min(ratios):.1f} to {max(ratios):.1f}); "
        f"{1e3 * slow:.3g} ms / {1e3 * fast:.3g} ms",
        goal=f"at least {goal:g}",
        met=middle >= goal,
        peak_mb=peak_mb(),
        detail={
            "ratio": middle, "lowest": min(ratios), "highest": max(ratios), "baseline_s": slow,
            "ours_s": fast, "rounds": len(ratios),
        },
    )  # fmt: skip


def copy_bandwidth(megabytes: float) -> float:
    """Bytes read and written a second when tensors of this size are copied: the best of many."""
    source = torch.ones(int(megabytes * 1e6 / 4))
    target = torch.empty_like(source)
    best = min(seconds(lambda: target.copy_(source)) for _ in range(30))
    return 2 * 4 * source.numel() / best
