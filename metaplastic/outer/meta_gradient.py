"""The meta-gradient of one meta-step: micro-batches forward and backward, summed in order.

A micro-batch is a fixed group of lifetimes with its own seed. The result depends on the learner,
the episodes and the seed, not on the number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from metaplastic.episode import Episode
from metaplastic.outer.distributed import ProcessGroup, in_order
from metaplastic.support.seeding import global_seed

if TYPE_CHECKING:
    from metaplastic.inner.learner import OnlineLearner


class MetaGradient(NamedTuple):
    """The result of a meta-batch, the same on every process."""

    loss: float  # mean over micro-batches of what was differentiated
    per_task: Tensor  # tasks
    accuracy: float | None
    gradients: list[Tensor | None]  # one per parameter; None where it is not used
    norm: Tensor  # of all gradients as one vector; not finite where its square overflows
    faulty: list[int]  # micro-batches whose loss or gradient is not finite, in order

    def metrics(self) -> dict[str, float]:
        """The metrics to record, whether or not the meta-step is usable."""
        known = {} if self.accuracy is None else {"accuracy": self.accuracy}
        return {"loss": self.loss, **known}


def meta_gradient(
    learner: OnlineLearner,
    episodes: Episode,
    parameters: Sequence[nn.Parameter],
    micro_batches: int,
    seed: tuple[int, int],
    group: ProcessGroup,
) -> MetaGradient:
    """The mean loss over `episodes` and its gradient with respect to `parameters`.

    Other parameters get no gradient. `seed` is (run seed, meta-step): with the number of the
    micro-batch it fixes random numbers of the forward pass, such as dropout.
    """
    device = episodes.support_x.device
    size = episodes.tasks // micro_batches
    has_accuracy = False

    def work(k: int) -> Tensor:
        nonlocal has_accuracy
        learner.zero_grad(set_to_none=True)
        with global_seed(device, *seed, k):
            result = learner(episodes.select(slice(k * size, (k + 1) * size)))
            if bool(torch.isfinite(result.loss)):
                result.loss.backward()
        has_accuracy = result.accuracy is not None
        accuracy = torch.zeros_like(result.per_task) if result.accuracy is None else result.accuracy
        used = [float(p.grad is not None) for p in parameters]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        learner.zero_grad(set_to_none=True)
        return torch.cat(
            [
                *(gradient.flatten() for gradient in gradients),
                result.loss.new_tensor(used),
                result.loss.detach().reshape(1),
                result.per_task,
                accuracy.to(result.per_task.dtype),
            ]
        )

    width = sum(p.numel() for p in parameters)
    total: Tensor | None = None
    tails, faulty = [], []
    for k, row in in_order(group, micro_batches, work):
        if not bool(torch.isfinite(row).all()):
            faulty.append(k)
        total = row[:width].clone() if total is None else total.add_(row[:width])
        tails.append(row[width:].cpu())
    assert total is not None
    total /= micro_batches
    used, losses, per_task, accuracy = torch.split(
        torch.stack(tails), [len(parameters), 1, size, size], dim=1
    )
    pieces = torch.split(total, [p.numel() for p in parameters])
    gradients = [
        piece.view_as(p).to(p.dtype) if is_used else None
        for piece, p, is_used in zip(pieces, parameters, used.any(0).tolist(), strict=True)
    ]
    return MetaGradient(
        loss=float(losses.mean()),
        per_task=per_task.flatten(),
        accuracy=float(accuracy.mean()) if has_accuracy else None,
        gradients=gradients,
        norm=get_total_norm([gradient for gradient in gradients if gradient is not None]),
        faulty=faulty,
    )


@torch.no_grad()
def meta_loss(
    learner: OnlineLearner,
    episodes: Episode,
    micro_batches: int,
    seed: tuple[int, int],
    group: ProcessGroup,
) -> tuple[float, float | None]:
    """Mean loss and accuracy over `episodes` without a gradient, shared among the processes."""
    device = episodes.support_x.device
    size = episodes.tasks // micro_batches
    has_accuracy = False

    def work(k: int) -> Tensor:
        nonlocal has_accuracy
        with global_seed(device, *seed, k):
            result = learner(episodes.select(slice(k * size, (k + 1) * size)))
        has_accuracy = result.accuracy is not None
        accuracy = result.per_task if result.accuracy is None else result.accuracy
        return torch.stack([result.per_task.mean(), accuracy.to(result.per_task.dtype).mean()])

    rows = torch.stack([row for _, row in in_order(group, micro_batches, work)]).cpu()
    loss, accuracy = rows.mean(0).tolist()
    return loss, accuracy if has_accuracy else None
