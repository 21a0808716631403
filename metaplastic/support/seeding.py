"""Randomness from nothing but numbers one can write down.

A run draws everything from (seed, meta-step, ...). No generator lives longer than the step it
serves, so a run can be cut anywhere, spread over any number of processes, and stays the same run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(*parts: int | str) -> int:
    """A seed in [0, 2^63) fixed by `parts` alone: neighboring numbers give unrelated seeds."""
    text = "/".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def seeded(*parts: int | str) -> torch.Generator:
    """A fresh CPU generator fixed by `parts` alone: `seeded(seed, step)` serves one meta-step."""
    return torch.Generator().manual_seed(derive(*parts))


@contextmanager
def global_seed(device: torch.device, *parts: int | str) -> Iterator[None]:
    """Within: torch's global generators start from `parts`. Afterwards: they are as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        # torch.manual_seed would seed every kind of device there is, which takes a millisecond.
        torch.default_generator.manual_seed(derive(*parts))
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(derive(*parts))
        yield
