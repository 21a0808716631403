"""Seeds derived from numbers and names.

Every random number of a run depends on (seed, meta-step, ...) alone. A generator is used for one
step only, so a run gives the same results when it is interrupted or divided among processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(*parts: int | str) -> int:
    """A seed in [0, 2^63) from the hash of `parts`."""
    text = "/".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def seeded(*parts: int | str) -> torch.Generator:
    """A new CPU generator seeded by `parts`, such as `seeded(seed, step)` for one meta-step."""
    return torch.Generator().manual_seed(derive(*parts))


@contextmanager
def global_seed(device: torch.device, *parts: int | str) -> Iterator[None]:
    """A context in which torch's global generators are seeded by `parts`; restored afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        # torch.manual_seed would seed every type of device, which takes a millisecond.
        torch.default_generator.manual_seed(derive(*parts))
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(derive(*parts))
        yield
