"""One row of `experiments.speed`, or a part of it, in the process of its own that it needs.

Not a script for people: `experiments.speed` starts it, and reads its findings from its output.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from typing import Any

from experiments.benchmarks import ON_DEVICE
from experiments.lab.runs.parent import bound_to_this, end_with_starter

START = "from experiments.benchmarks.child import main; main()"


def start(*words: str, environment: Mapping[str, str] | None = None) -> Any:
    """`main` with these words in a fresh interpreter; what it found."""
    done = subprocess.run(
        [sys.executable, "-c", START, *words],
        capture_output=True,
        text=True,
        env=bound_to_this({**os.environ, **(environment or {})}),
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"Measuring {' '.join(words)} failed: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    import torch

    end_with_starter()
    parser = argparse.ArgumentParser()
    parser.add_argument("row")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", help="of a row whose rivals need a process each")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rules", nargs="*", help="of the row that has some")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    row = import_module(f"experiments.benchmarks.{given.row}")
    where = (given.device,) if given.row in ON_DEVICE else ()
    where += (given.rules,) if given.rules else ()
    if given.part is not None:
        print(json.dumps(row.part(given.part, *where)))
    else:
        print(json.dumps([asdict(each) for each in row.measure(given.repeat, given.seed, *where)]))
