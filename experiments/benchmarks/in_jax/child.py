"""The same work in JAX, in a process of its own, which `jax_peer` starts.

So neither library's threads and memory are in the other's measurement. It reads one line of JSON
per request and answers with one.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from experiments.benchmarks.in_jax import images, lifetimes, online

WORK: Mapping[str, Callable[..., Callable[[], Mapping[str, Any]]]] = {
    "plastic_head": lifetimes.plastic_head,
    "inner_sgd": lifetimes.inner_sgd,
    "deep_sines": lifetimes.deep_sines,
    "readout": lifetimes.readout,
    "stream": lifetimes.stream,
    "encoder_once": images.encoder_once,
    "residual": images.residual,
    "online": online.online,
}
"""What makes a function without arguments of arrays, the names learned, and options."""


def main() -> None:
    """Answer requests until the input ends."""
    import jax

    from experiments.benchmarks.memory import peak_mb

    imported = peak_mb()
    save: Any = np.savez
    run: Any = None
    answer: dict[str, float | str]
    for line in sys.stdin:
        request = json.loads(line)
        if "work" in request:
            given = dict(np.load(request["arrays"]))
            run = WORK[request["work"]](given, request["learned"], **request["options"])
            first, found = seconds(run), run()
            for _ in range(request["calls"] - 2):
                found = run()
            save(request["result"], **{name: np.asarray(found[name]) for name in found})
            answer = {"compile_s": max(0.0, first - seconds(run))}
        elif "calls" in request:
            run()
            answer = {"seconds": min(seconds(run) for _ in range(request["calls"]))}
        else:
            answer = {"megabytes": peak_mb() - imported, "platform": jax.default_backend()}
        print(json.dumps(answer), flush=True)


def seconds(run: Any) -> float:
    import jax

    wait: Any = jax.block_until_ready
    start = time.perf_counter()
    wait(run())
    return time.perf_counter() - start
