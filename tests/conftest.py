"""Fixtures of every test file."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

torch.set_num_threads(1)  # tests are tiny: a second thread would cost them more than it gives
# As many processes as cores test already: what makes machine code needs no helpers beside them.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded source of randomness; tests draw from it and from nothing else."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def _the_same_weights_every_time() -> Iterator[None]:
    """Modules draw their first weights from the global generator: seed it, and put it back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
