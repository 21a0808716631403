"""Ours, eager and compiled, beside every peer: one line with ratio, memory, compilation and limit.

The limit of a machine for a row is the longer of two times: that of its matrix products at the rate
of products of the same shape, and that of reading and writing its weights at the rate of copying
as many bytes, both measured in the same run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from experiments.benchmarks import Finding
from experiments.benchmarks.child import start
from experiments.benchmarks.jax_peer import JaxPeer
from experiments.benchmarks.measure import Work, copy_bandwidth, interleaved, seconds
from experiments.benchmarks.memory import peak_mb

GOAL = 1.2  # times as fast as the fastest peer
COMPILATION = ("compile_s", "cached_s")


@dataclass(frozen=True)
class Limit:
    """The least seconds that the machine needs, by what it is bound."""

    products: float
    copying: float

    @property
    def seconds(self) -> float:
        return max(self.products, self.copying)

    @property
    def bound(self) -> str:
        return "products" if self.products >= self.copying else "copying"


def limit(
    work: Work, shape: tuple[int, int, int, int], moved_mb: float, at_once_mb: float
) -> Limit:
    """The limit of a meta-gradient.

    Args:
        work: computes it by products that torch counts.
        shape: `batch rows inner columns` of a typical one.
        moved_mb: read and written by the least that a step by step algorithm does.
        at_once_mb: the size of what is copied at a time.
    """
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    batch, rows, inner, columns = shape
    one, other = torch.rand(batch, rows, inner), torch.rand(batch, inner, columns)
    best = min(seconds(lambda: torch.bmm(one, other), calls=10) for _ in range(20))
    rate = batch * rows * inner * columns / best
    copied = 1e6 * moved_mb / copy_bandwidth(at_once_mb)
    return Limit(counter.get_total_flops() / 2 / rate, copied)


def cost(make: Callable[[], Work]) -> dict[str, float]:
    """Of one candidate in this process: its memory beyond imports, and what its first call adds."""
    imported = peak_mb()
    work = make()
    first, again = seconds(work), seconds(work)
    return {"megabytes": peak_mb() - imported, "compile_s": max(0.0, first - again)}


def costs(row: str, parts: Sequence[str], threads: int, device: str) -> dict[str, dict[str, float]]:
    """`cost` of these parts of a row, each in a process of its own, compilers' caches empty.

    `cached_s` is what the first call adds in a second process, which finds the caches of the first.
    """
    found = {}
    for part in parts:
        with tempfile.TemporaryDirectory() as cache:
            words = ["--part", part, "--threads", str(threads), "--device", device]
            first, second = (
                start(row, *words, environment={"TORCHINDUCTOR_CACHE_DIR": cache}) for _ in range(2)
            )
        found[part] = {**first, "cached_s": second["compile_s"]}
    return found


def beside_peers(
    what: str,
    ours: Mapping[str, Work],
    peers: Mapping[str, Work],
    spent_on: Mapping[str, Mapping[str, float]],
    least: Limit,
    repeat: int,
    calls: int = 5,
) -> Finding:
    """One line: the fastest peer's time over the time of the faster of ours.

    Args:
        ours: `eager` and `compiled`, or one of them.
        spent_on: `cost` of each of `ours`.
    """
    times = interleaved({**ours, **peers}, repeat, calls)
    middle = {name: median(spent) for name, spent in times.items()}
    best, peer = min(ours, key=middle.__getitem__), min(peers, key=middle.__getitem__)
    ratios = sorted(p / o for p, o in zip(times[peer], times[best], strict=True))
    ratio, share = median(ratios), 100 * least.seconds / middle[best]
    each = ", ".join(f"{name} {1e3 * spent:.3g} ms" for name, spent in middle.items())
    memory = [f"ours {name} {spent_on[name]['megabytes']:.0f} MB" for name in ours]
    memory += [f"{n} {p.megabytes():.0f} MB" for n, p in peers.items() if isinstance(p, JaxPeer)]
    made = [
        f"ours {cost['compile_s']:.1f} s, {cost['cached_s']:.1f} s in a second process"
        for cost in (spent_on[name] for name in ours if name != "eager")
    ]
    made += [f"{n} {p.compile_s:.1f} s" for n, p in peers.items() if isinstance(p, JaxPeer)]
    return Finding(
        what=f"{what}: fastest peer ({peer}) / ours ({best})",
        result=f"{ratio:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); {each}; "
        f"memory beyond imports: {', '.join(memory)}; compilation: {', '.join(made)}; "
        f"{share:.0f} % of the machine's limit, {1e3 * least.seconds:.3g} ms of {least.bound}",
        goal=f"at least {GOAL:g}",
        met=ratio >= GOAL,
        peak_mb=peak_mb(),
        detail={
            "ratio": ratio, "lowest": ratios[0], "highest": ratios[-1], "limit_s": least.seconds,
            **{f"{name}_s": spent for name, spent in middle.items()},
            **{f"{name}_mb": spent_on[name]["megabytes"] for name in ours},
            **{f"{name}_{cost}": spent_on[name][cost] for name in ours for cost in COMPILATION},
        },
    )  # fmt: skip


def not_measured(what: str, reason: Exception) -> Finding:
    """The line of a peer that is not here."""
    return Finding(what, f"not measured: {reason}")


def closing(peers: Mapping[str, Any]) -> None:
    """End the processes of peers that have one."""
    for peer in peers.values():
        if isinstance(peer, JaxPeer):
            peer.close()
