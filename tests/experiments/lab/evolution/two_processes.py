"""As a script: the same small search in one process and in two, as torchrun starts them.

`python -m tests.experiments.lab.evolution.two_processes FOLDER`. The processes are forked behind
the imports, before the first backward pass.
"""

from __future__ import annotations

import socket
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import torch

from experiments.discover import main
from experiments.lab.evolution import ablations, command, data, search, shipping
from tests.helpers.small_runs import ended_well, forked

__all__ = ("ablations", "command", "search", "shipping")  # imported once, for all processes

ARGUMENTS = (
    "--by", "evolution", "--generations", "3", "--pairs", "2", "--lifetimes", "2", "--rows", "16",
    "--ablations", "3", "--threads", "1",
)  # fmt: skip


def small_source() -> list[data.Source]:
    """Small images of noise around a mean for each class."""
    g = torch.Generator().manual_seed(0)
    means = 255 * torch.rand(12, 1, 8, 8, generator=g)
    images = (means + 20 * torch.randn(12, 9, 8, 8, generator=g)).clamp(0, 255).byte()
    return [data.Source(images, 3)]


def in_processes(size: int, folder: Path) -> None:
    """The search, by so many processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
    work = partial(main, [*ARGUMENTS, "--out", str(folder)])
    children = [forked(work, RANK=str(r), LOCAL_RANK=str(r), **address) for r in range(size)]
    assert [ended_well(child) for child in children] == [True] * size


if __name__ == "__main__":
    torch.set_num_threads(1)
    import_module("torch._dynamo")
    data.LENGTHS, data.QUERIES = (8, 12), 12  # type: ignore[assignment]
    data.sources = small_source
    for size in (1, 2):
        in_processes(size, Path(sys.argv[1]) / str(size))
