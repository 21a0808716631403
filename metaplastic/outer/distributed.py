"""Several processes, one run: the meta-batch is shared out, the parameters stay bitwise the same.

The meta-batch is cut into micro-batches of a fixed size, whoever computes them. Each process
takes every `size`-th one; results are gathered and combined in the order of the micro-batches,
never in the order of arrival. Sums of floats depend on their order, so an all-reduce would make
the result depend on the number of processes; a gather costs `size` times its memory and does not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class World:
    """The processes of a run and which of them this is; (0, 1) is a run of its own."""

    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the one process that writes files."""
        return self.rank == 0

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Every process's `tensor` (all of one shape), in order of rank, on every process."""
        if self.size == 1:
            return [tensor]
        received = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(received, tensor.contiguous())
        return received

    def broadcast(self, content: bytes | None, device: torch.device) -> bytes | None:
        """The main process's `content` on every process; None stays None."""
        if self.size == 1:
            return content
        length = torch.tensor(-1 if content is None else len(content), device=device)
        dist.broadcast(length, 0)
        if int(length) < 0:
            return None
        if self.main and content is not None:
            payload = torch.frombuffer(bytearray(content), dtype=torch.uint8).to(device)
        else:
            payload = torch.empty(int(length), dtype=torch.uint8, device=device)
        dist.broadcast(payload, 0)
        return payload.cpu().numpy().tobytes()

    def align(self, module: nn.Module) -> None:
        """Give every process the main process's parameters and buffers."""
        if self.size > 1:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, 0)


def current_world() -> World:
    """The processes that have joined, or a world of one."""
    if dist.is_available() and dist.is_initialized():
        return World(dist.get_rank(), dist.get_world_size())
    return World()


@contextmanager
def joined(device: str = "cpu") -> Iterator[tuple[World, torch.device]]:
    """Join the processes that `torchrun` started, if it did, and leave them at the end.

    `device` is the kind of device, "cpu" (gloo) or "cuda" (nccl). Yields the world and this
    process's own device.
    """
    kind = torch.device(device).type
    own = torch.device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield World(), own
        return
    if kind == "cuda":
        own = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(own)
    dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield current_world(), own
    finally:
        dist.destroy_process_group()


def in_order(
    world: World, count: int, work: Callable[[int], Tensor]
) -> Iterator[tuple[int, Tensor]]:
    """`(k, work(k))` for k from 0 to `count` - 1, in order, on every process.

    Each process calls `work` for its own share only. `count` is a multiple of the world's size.
    """
    for first in range(0, count, world.size):
        yield from enumerate(world.gather(work(first + world.rank)), first)


def micro_batches(world: World, tasks: int, micro_batch: int | None, name: str) -> int:
    """Into how many micro-batches `tasks` fall, once it is sure that they can be shared out.

    Raises:
        ValueError: if they cannot be shared out evenly; `name` is what the message calls them.
    """
    size = tasks if micro_batch is None else micro_batch
    if tasks % size:
        raise ValueError(
            f"{name} = {tasks} is not divisible by micro_batch = {size}. "
            f"Choose a micro_batch that divides {tasks}."
        )
    if tasks // size % world.size:
        advice = (
            f"Set micro_batch to {tasks // world.size} or a divisor of it."
            if tasks % world.size == 0
            else f"Choose {name} divisible by {world.size}."
        )
        raise ValueError(
            f"{name} = {tasks} in micro-batches of {size} are {tasks // size} micro-batches, "
            f"which {world.size} processes cannot share evenly. {advice}"
        )
    return tasks // size
