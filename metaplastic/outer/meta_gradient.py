"""The gradient of one meta-step: micro-batches forward and backward, summed in a fixed order.

A micro-batch is a fixed group of lifetimes with its own seed, wherever it is computed. What comes
out depends on the learner, the episodes and the seed, never on how many processes there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from metaplastic.episode import Episode
from metaplastic.outer.distributed import World, in_order
from metaplastic.support.seeding import global_seed

if TYPE_CHECKING:
    from metaplastic.inner.learner import OnlineLearner


class MetaGradient(NamedTuple):
    """What a meta-batch says, the same on every process."""

    loss: float  # mean over micro-batches of what was differentiated
    per_task: Tensor  # tasks
    accuracy: float | None
    gradients: list[Tensor | None]  # one per parameter; None where it took no part
    norm: Tensor  # of all gradients as one vector; not finite where its square overflows
    faulty: list[int]  # micro-batches whose loss or gradient is not finite, in order

    def metrics(self) -> dict[str, float]:
        """What is recorded of it, whether or not it can be used."""
        known = {} if self.accuracy is None else {"accuracy": self.accuracy}
        return {"loss": self.loss, **known}


def meta_gradient(
    learner: OnlineLearner,
    episodes: Episode,
    parameters: Sequence[nn.Parameter],
    micro_batches: int,
    seed: tuple[int, int],
    world: World,
) -> MetaGradient:
    """The mean loss over `episodes` and its gradient with respect to `parameters`.

    Whatever else in the learner requires a gradient gets none. `seed` is (run seed, meta-step):
    with the number of the micro-batch it fixes what the forward pass draws, such as dropout.
    """
    device = episodes.support_x.device
    size = episodes.tasks // micro_batches
    knows_accuracy = False

    def work(k: int) -> Tensor:
        nonlocal knows_accuracy
        learner.zero_grad(set_to_none=True)
        with global_seed(device, *seed, k):
            result = learner(episodes.select(slice(k * size, (k + 1) * size)))
            if bool(torch.isfinite(result.loss)):
                result.loss.backward()
        knows_accuracy = result.accuracy is not None
        right = torch.zeros_like(result.per_task) if result.accuracy is None else result.accuracy
        took_part = [float(p.grad is not None) for p in parameters]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        learner.zero_grad(set_to_none=True)
        return torch.cat(
            [
                *(gradient.flatten() for gradient in gradients),
                result.loss.new_tensor(took_part),
                result.loss.detach().reshape(1),
                result.per_task,
                right.to(result.per_task.dtype),
            ]
        )

    width = sum(p.numel() for p in parameters)
    total: Tensor | None = None
    tails, faulty = [], []
    for k, row in in_order(world, micro_batches, work):
        if not bool(torch.isfinite(row).all()):
            faulty.append(k)
        total = row[:width].clone() if total is None else total.add_(row[:width])
        tails.append(row[width:].cpu())
    assert total is not None
    total /= micro_batches
    took_part, losses, per_task, right = torch.split(
        torch.stack(tails), [len(parameters), 1, size, size], dim=1
    )
    pieces = torch.split(total, [p.numel() for p in parameters])
    gradients = [
        piece.view_as(p).to(p.dtype) if taken else None
        for piece, p, taken in zip(pieces, parameters, took_part.any(0).tolist(), strict=True)
    ]
    return MetaGradient(
        loss=float(losses.mean()),
        per_task=per_task.flatten(),
        accuracy=float(right.mean()) if knows_accuracy else None,
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
    world: World,
) -> tuple[float, float | None]:
    """Mean loss and accuracy over `episodes` without a gradient, shared among the processes."""
    device = episodes.support_x.device
    size = episodes.tasks // micro_batches
    knows_accuracy = False

    def work(k: int) -> Tensor:
        nonlocal knows_accuracy
        with global_seed(device, *seed, k):
            result = learner(episodes.select(slice(k * size, (k + 1) * size)))
        knows_accuracy = result.accuracy is not None
        right = result.per_task if result.accuracy is None else result.accuracy
        return torch.stack([result.per_task.mean(), right.to(result.per_task.dtype).mean()])

    rows = torch.stack([row for _, row in in_order(world, micro_batches, work)]).cpu()
    loss, accuracy = rows.mean(0).tolist()
    return loss, accuracy if knows_accuracy else None
