"""The teaching of one output: its loss, the direction at the prediction, the answer as activity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from metaplastic.inner.teacher import LossTeacher
from metaplastic.online.losses import IGNORED, check_target, usual_loss

Loss = Callable[[Any, Any], Tensor]


def teaching_of(
    output: Any, prediction: Tensor, y: Any, loss_fn: Loss | None
) -> tuple[Tensor, Tensor, Callable[[], Tensor]]:
    """The mean loss; where the prediction should go, per example; and the prediction, if needed.

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
    if loss_fn is None and _is_plain(prediction, y):
        loss, slope = _cross_entropy(prediction.detach(), y)
    else:
        loss, slope = _by_autograd(output, prediction, y, loss_fn)
    teaching = -examples * slope

    def answer() -> Tensor:
        return LossTeacher(loss_fn or usual_loss).answer(prediction.detach(), y)

    return loss, teaching, answer


def _is_plain(prediction: Tensor, y: Any) -> bool:
    """Whether it is one label for each example, which is most of what is learned online."""
    return (
        isinstance(y, Tensor)
        and y.dtype == torch.int64
        and prediction.dim() == 2
        and y.shape == prediction.shape[:1]
        and y.device.type == "cpu"  # which refuses a label out of range by itself
    )


def _cross_entropy(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The mean over examples and its gradient, by the kernels that autograd would call.

    `logits` have no graph.
    """
    aten = torch.ops.aten
    log = torch.log_softmax(logits, 1)
    try:
        loss, total = aten.nll_loss_forward(log, y, None, 1, IGNORED)
    except IndexError:
        check_target(logits, y)
        raise
    one = torch.ones_like(loss)
    slope = aten.nll_loss_backward(one, log, y, None, 1, IGNORED, total)
    slope = aten._log_softmax_backward_data(slope, log, 1, logits.dtype)
    if not float(total):
        return torch.zeros_like(loss), torch.zeros_like(logits)  # nothing is taught
    return loss, slope


def _by_autograd(
    output: Any, prediction: Tensor, y: Any, loss_fn: Loss | None
) -> tuple[Tensor, Tensor]:
    leaf = prediction.detach().requires_grad_()
    with torch.enable_grad():
        if loss_fn is None:
            check_target(leaf, y)
            loss = usual_loss(leaf, y)
            if not y.is_floating_point() and bool((y == IGNORED).all()):
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
        (slope,) = torch.autograd.grad(loss, leaf, retain_graph=leaf is prediction)
    return loss.detach(), slope
