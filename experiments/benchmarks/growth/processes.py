"""One meta-batch shared by the processes that torchrun starts.

The row starts torchrun, and torchrun `main` in every process. The meta-batch is four micro-batches
for any number of processes, so that the meta-gradient is the same bits.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import zlib
from typing import Any

import torch

from experiments.benchmarks.growth.axes import (
    BATCH,
    INPUTS,
    QUERIES,
    STEPS,
    TINY,
    labels,
    learner,
    seeds,
)
from experiments.benchmarks.measure import seconds
from experiments.benchmarks.memory import peak_mb
from experiments.lab.runs.parent import bound_to_this, end_with_starter
from metaplastic.episode import Episode
from metaplastic.outer.distributed import ProcessGroup, process_group
from metaplastic.outer.meta_gradient import meta_gradient

RANKS = (1, 2, 4)
MICRO_BATCHES, TASKS = 4, 64
# torchrun itself, which ends with the process that started it.
START = (
    "from experiments.lab.runs.parent import end_with_starter as bound; bound();"
    "from torch.distributed.run import main; main()"
)
EACH = "from experiments.benchmarks.growth.processes import main; main()"


def by_torchrun(count: int, rounds: int, calls: int, seed: int) -> dict[str, Any]:
    """What `shared` finds with so many processes, of one thread each."""
    words = ["--rounds", str(rounds), "--calls", str(calls), "--seed", str(seed)]
    shared_by = ["--standalone", "--nproc-per-node", str(count), "--no-python"]
    done = subprocess.run(
        [sys.executable, "-c", START, *shared_by, sys.executable, "-c", EACH, *words],
        capture_output=True,
        text=True,
        env=bound_to_this({**os.environ, "OMP_NUM_THREADS": "1"}),
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"Measuring {count} processes failed: {last}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def shared(
    group: ProcessGroup, rounds: int, calls: int, seed: int, tasks: int = TASKS, steps: int = STEPS
) -> dict[str, Any]:
    """Seconds of a meta-gradient in every round, megabytes of every process, the result's sum."""
    TINY()()
    before = peak_mb()
    torch.manual_seed(seed)
    episodes = meta_batch(tasks, steps)
    ours = learner()
    parameters = [p for p in ours.parameters() if p.requires_grad]

    def work() -> torch.Tensor:
        found = meta_gradient(ours, episodes, parameters, MICRO_BATCHES, (seed, 0), group)
        return torch.cat([g.flatten() for g in found.gradients if g is not None])

    result = work()
    spent = []
    for _ in range(rounds):
        group.gather(torch.zeros(1))  # all begin together
        spent.append(min(seconds(work) for _ in range(calls)))
    held = group.gather(torch.tensor([peak_mb() - before], dtype=torch.float64))
    return {
        "seconds": spent,
        "megabytes": [float(each) for each in held],
        "result": zlib.crc32(result.numpy().tobytes()),
    }


def meta_batch(tasks: int, steps: int) -> Episode:
    x, y = torch.randn(tasks, steps, BATCH, INPUTS), labels(tasks, steps, BATCH)
    query, target = torch.randn(tasks, QUERIES, INPUTS), labels(tasks, QUERIES)
    return Episode(x, y, torch.zeros_like(y), query, target, torch.zeros_like(target), seeds(tasks))


def main() -> None:
    end_with_starter()
    parser = argparse.ArgumentParser()
    for name in ("--rounds", "--calls", "--seed"):
        parser.add_argument(name, type=int, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with process_group() as (group, _):
        found = shared(group, given.rounds, given.calls, given.seed)
    if group.main:
        print(json.dumps(found))
