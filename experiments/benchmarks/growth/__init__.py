"""How cost grows: time and memory against steps, tasks, width, classes and processes.

Sizes of an axis alternate within a round. Time is the median over rounds of the fastest of a few
calls; memory is that of a process of its own for each size, beyond what a tiny call needs. The
exponent k of cost = a size^k is fitted by least squares on logarithms.
"""

from __future__ import annotations

import os

from experiments.benchmarks import Finding
from experiments.benchmarks.growth.alone import each_alone
from experiments.benchmarks.growth.axes import AXES, Axis
from experiments.benchmarks.growth.fit import NONE, finding
from experiments.benchmarks.growth.processes import RANKS, by_torchrun
from experiments.benchmarks.measure import interleaved

CALLS = 3
PER_SECOND = {"ms": 1e3, "us": 1e6}


def measure(repeat: int, seed: int) -> list[Finding]:
    found = []
    for name, axis in AXES.items():
        found += of_axis(name, axis, repeat)
    return [*found, *of_processes(repeat, seed)]


def of_axis(name: str, axis: Axis, repeat: int) -> list[Finding]:
    """Time and memory at every size."""
    work = {str(size): axis.make(size) for size in axis.sizes}
    times = interleaved(work, repeat, CALLS)
    scale = PER_SECOND[axis.unit] / axis.divided_by
    rounds = [[scale * spent for spent in times[str(size)]] for size in axis.sizes]
    memory = [[held] for held in each_alone(name, axis.sizes)]
    return [
        finding(axis.what, axis.label, axis.unit, axis.sizes, rounds, axis.time),
        finding(axis.what, axis.label, "MB", axis.sizes, memory, axis.memory),
    ]


def of_processes(repeat: int, seed: int) -> list[Finding]:
    """One meta-batch by 1, 2 and 4 processes, whose meta-gradients are the same bits."""
    runs = [by_torchrun(count, repeat, CALLS, seed) for count in RANKS]
    if any(run["result"] != runs[0]["result"] for run in runs):
        raise RuntimeError("The meta-gradient depends on the number of processes.")
    rounds = [[1e3 * spent for spent in run["seconds"]] for run in runs]
    memory = [[max(run["megabytes"])] for run in runs]
    what, label = f"a meta-batch by torchrun, {os.cpu_count()} cores", "processes"
    return [
        finding(what, label, "ms", RANKS, rounds, NONE),
        finding(f"{what}, the largest process", label, "MB", RANKS, memory, NONE),
    ]
