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
    """The result of a meta-batch, the same on every process; its tensors are on the device."""

    loss: Tensor  # scalar: mean over micro-batches of what was differentiated
    per_task: Tensor  # tasks
    accuracy: Tensor | None  # scalar
    gradients: list[Tensor | None]  # one per parameter; None where it is not used
    norm: Tensor  # of all gradients as one vector; not finite where its square overflows
    finite: Tensor  # micro-batches: whether loss and gradient of each are finite

    @property
    def faulty(self) -> list[int]:
        """The micro-batches whose loss or gradient is not finite, in order."""
        return [int(k) for k in (~self.finite).nonzero().flatten()]

    def usable(self, limit: float | None) -> Tensor:
        """Whether a meta-step may be taken, a bool on the device; losses up to `limit` are."""
        # Clipping by an infinite norm would zero the gradient and leave Adam with zero steps.
        found = self.finite.all() & self.norm.isfinite() & self.per_task.isfinite().all()
        return found if limit is None else found & (self.per_task <= limit).all()

    def read(self, limit: float | None) -> tuple[bool, dict[str, float], float]:
        """Whether the meta-step is `usable`, its metrics, and the norm: one read of the device."""
        numbers = [self.usable(limit).to(self.loss.dtype), self.loss, self.norm.to(self.loss.dtype)]
        known = [] if self.accuracy is None else [self.accuracy]
        usable, loss, norm, *accuracy = torch.stack([*numbers, *known]).tolist()
        metrics = {"loss": loss}
        if accuracy:
            metrics["accuracy"] = accuracy[0]
        return bool(usable), metrics, norm


def meta_gradient(
    learner: OnlineLearner,
    episodes: Episode,
    parameters: Sequence[nn.Parameter],
    micro_batches: int,
    seed: tuple[int, int],
    group: ProcessGroup,
) -> MetaGradient:
    """The mean loss over `episodes` and its gradient with respect to `parameters`.

    Nothing is read from the device, but with several processes whether a parameter is used. Other
    parameters get no gradient. `seed` is (run seed, meta-step): with the number of the
    micro-batch it fixes random numbers of the forward pass, such as dropout.
    """
    device = episodes.support_x.device
    size = episodes.tasks // micro_batches
    has_accuracy = False
    used = [False] * len(parameters)

    def work(k: int) -> Tensor:
        nonlocal has_accuracy
        learner.zero_grad(set_to_none=True)
        with global_seed(device, *seed, k):
            result = learner(episodes.select(slice(k * size, (k + 1) * size)))
            result.loss.backward()
        has_accuracy = result.accuracy is not None
        accuracy = torch.zeros_like(result.per_task) if result.accuracy is None else result.accuracy
        for i, parameter in enumerate(parameters):
            used[i] |= parameter.grad is not None
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        learner.zero_grad(set_to_none=True)
        return torch.cat(
            [
                *(gradient.flatten() for gradient in gradients),
                result.loss.detach().reshape(1),
                result.per_task,
                accuracy.to(result.per_task.dtype),
            ]
        )

    width = sum(p.numel() for p in parameters)
    total: Tensor | None = None
    tails, finite = [], []
    for _, row in in_order(group, micro_batches, work):
        finite.append(torch.isfinite(row).all())
        total = row[:width].clone() if total is None else total.add_(row[:width])
        tails.append(row[width:])
    assert total is not None
    total /= micro_batches
    if group.size > 1:
        flags = torch.stack(group.gather(torch.tensor(used, device=device)))
        used = flags.any(0).tolist()
    losses, per_task, accuracy = torch.split(torch.stack(tails), [1, size, size], dim=1)
    pieces = torch.split(total, [p.numel() for p in parameters])
    gradients = [
        piece.view_as(p).to(p.dtype) if is_used else None
        for piece, p, is_used in zip(pieces, parameters, used, strict=True)
    ]
    return MetaGradient(
        loss=losses.mean(),
        per_task=per_task.flatten(),
        accuracy=accuracy.mean() if has_accuracy else None,
        gradients=gradients,
        norm=get_total_norm([gradient for gradient in gradients if gradient is not None]),
        finite=torch.stack(finite),
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
