"""Data-parallel meta-training with results independent of the number of processes.

The meta-batch is divided into micro-batches of a fixed size. Each process computes every `size`-th
one; results are gathered and combined in the order of the micro-batches. Floating-point sums depend
on their order, so an all-reduce would make the result depend on the number of processes; a gather
takes `size` times its memory and does not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from metaplastic.support.renamed import former_names


@dataclass(frozen=True)
class ProcessGroup:
    """This process's rank and the number of processes; (0, 1) is a single-process run."""

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


def current_group() -> ProcessGroup:
    """The initialized process group, or a group of one process."""
    if dist.is_available() and dist.is_initialized():
        return ProcessGroup(dist.get_rank(), dist.get_world_size())
    return ProcessGroup()


@contextmanager
def process_group(device: str = "cpu") -> Iterator[tuple[ProcessGroup, torch.device]]:
    """A context in the process group that `torchrun` started, if it did.

    `device` is the device type, "cpu" (gloo) or "cuda" (nccl). Yields the group and this process's
    device.
    """
    kind = torch.device(device).type
    local_device = torch.device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ProcessGroup(), local_device
        return
    if kind == "cuda":
        local_device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(local_device)
    dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield current_group(), local_device
    finally:
        dist.destroy_process_group()


def in_order(
    group: ProcessGroup, count: int, work: Callable[[int], Tensor]
) -> Iterator[tuple[int, Tensor]]:
    """`(k, work(k))` for k from 0 to `count` - 1, in order, on every process.

    Each process calls `work` for its share only. `count` is a multiple of the group's size.
    """
    for first in range(0, count, group.size):
        yield from enumerate(group.gather(work(first + group.rank)), first)


def micro_batches(group: ProcessGroup, tasks: int, micro_batch: int | None, name: str) -> int:
    """The number of micro-batches in `tasks`, which must divide evenly among the processes.

    Raises:
        ValueError: if they do not; `name` is the option that the message names.
    """
    size = tasks if micro_batch is None else micro_batch
    if tasks % size:
        raise ValueError(
            f"{name} = {tasks} is not divisible by micro_batch = {size}. "
            f"Choose a micro_batch that divides {tasks}."
        )
    if tasks // size % group.size:
        advice = (
            f"Set micro_batch to {tasks // group.size} or a divisor of it."
            if tasks % group.size == 0
            else f"Choose {name} divisible by {group.size}."
        )
        raise ValueError(
            f"{name} = {tasks} in micro-batches of {size} are {tasks // size} micro-batches, "
            f"which {group.size} processes cannot share evenly. {advice}"
        )
    return tasks // size


__getattr__ = former_names(
    globals(), World="ProcessGroup", current_world="current_group", joined="process_group"
)
