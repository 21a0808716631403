"""The teaching of one output: its loss, the direction at the prediction, the answer as activity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from metaplastic.inner.teacher import LossTeacher
from metaplastic.online.losses import check_target, usual_loss

Loss = Callable[[Any, Any], Tensor]


def taught(
    output: Any, prediction: Tensor, y: Any, loss_fn: Loss | None
) -> tuple[Tensor, Tensor, Callable[[], Tensor]]:
    """The mean loss; where the prediction should go, per example; and the answer, if asked for.

    Raises:
        ValueError: for an empty minibatch, a target that does not fit, a loss that is not one
            number, or a prediction on another device than the target.
    """
    examples = len(prediction)
    if not examples:
        raise ValueError("The minibatch is empty, so there is nothing to learn from; leave it out.")
    if isinstance(y, Tensor) and y.device != prediction.device:
        raise ValueError(
            f"The target is on {y.device}, the prediction on {prediction.device}; move one of them."
        )
    leaf = prediction.detach().requires_grad_()
    with torch.enable_grad():
        if loss_fn is None:
            check_target(leaf, y)
            loss = usual_loss(leaf, y)
            if not y.is_floating_point() and bool((y == -100).all()):
                loss = leaf.sum() * 0.0  # nothing is taught
        elif output is prediction:
            loss = loss_fn(leaf, y)
        else:
            loss = loss_fn(output, y)
            leaf = prediction
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise ValueError(
                f"loss_fn returned {getattr(loss, 'shape', type(loss).__name__)!r}; it must return "
                "one number, the mean over the examples."
            )
        keep = leaf is prediction
        (slope,) = torch.autograd.grad(loss, leaf, retain_graph=keep)
    with torch.no_grad():
        teaching = -examples * slope

    def answer() -> Tensor:
        return LossTeacher(usual_loss).answer(prediction.detach(), y)

    return loss.detach(), teaching, answer
