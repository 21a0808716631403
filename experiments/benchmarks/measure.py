"""Clocks, memory and the frame that every row shares."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import torch

from experiments.benchmarks import Finding

Work = Callable[[], Any]


def seconds(work: Work, calls: int = 1) -> float:
    """Wall-clock seconds of one call, over `calls` in a row."""
    start = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - start) / calls


def interleaved(rivals: dict[str, Work], repeat: int, calls: int = 5) -> dict[str, list[float]]:
    """Seconds of every rival in each of `repeat` rounds, one after another within a round.

    A round calls each rival once unmeasured, because the one before has left its own memory
    in the caches, and then takes the fastest of `calls`: other users of a machine only ever add.
    What they add to a round they add to all rivals, so ratios can be trusted where times cannot.
    """
    found: dict[str, list[float]] = {name: [] for name in rivals}
    for work in rivals.values():
        work()  # compiles, allocates
    for _ in range(repeat):
        for name, work in rivals.items():
            work()
            found[name].append(min(seconds(work) for _ in range(calls)))
    return found


def versus(
    what: str, times: dict[str, list[float]], baseline: str, ours: str, goal: float
) -> Finding:
    """The ratio of two rivals, round by round."""
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


def peak_mb() -> float:
    """The most memory this process has ever held, in MB (10^6 bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def copy_bandwidth(megabytes: float) -> float:
    """Bytes read and written a second when tensors of this size are copied: the best of many."""
    source = torch.ones(int(megabytes * 1e6 / 4))
    target = torch.empty_like(source)
    best = min(seconds(lambda: target.copy_(source)) for _ in range(30))
    return 2 * 4 * source.numel() / best


def alone(module: str, *words: str) -> dict[str, Any]:
    """Run a row's module as a process of its own with other words, and read its JSON answer."""
    done = subprocess.run(
        [sys.executable, "-m", module, *words], capture_output=True, text=True, env=os.environ
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"{module} {' '.join(words)} failed: {last}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def row(measure: Callable[[int, int], list[Finding]]) -> None:
    """The `main` of a row: settings in, findings out as JSON."""
    settings, _ = options()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    findings: Sequence[Finding] = measure(settings.repeat, settings.seed)
    print(json.dumps([asdict(finding) for finding in findings]))


def options() -> tuple[argparse.Namespace, list[str]]:
    """`--repeat`, `--threads`, `--seed`, and the words that are the row's own affair."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    settings, words = parser.parse_known_args()
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    return settings, words
