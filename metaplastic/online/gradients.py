"""What `Credit.backward` does with gradients beside sending errors back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from metaplastic.pathways.inverse import InversePathway
from metaplastic.rules.learning_rule import LearningRule

Loss = Callable[[Any, Any], Tensor]
Earlier = list[tuple[nn.Parameter, Tensor | None]]


def set_aside(rule: LearningRule, weights: Sequence[nn.Parameter]) -> Earlier:
    """Earlier gradients of site weights, where the rule finishes this minibatch's alone."""
    if not rule.finishes:
        return []
    had: Earlier = [(weight, weight.grad) for weight in weights]
    for weight in weights:
        weight.grad = None
    return had


def finish(rule: LearningRule, had: Earlier) -> None:
    """Finish this minibatch's gradients, and add the earlier ones again."""
    for weight, before in had:
        if weight.grad is not None:
            weight.grad = rule.finish(weight.grad)
        if before is not None:
            weight.grad = before if weight.grad is None else before + weight.grad


def by_inverses(pathway: InversePathway, chain: nn.Module, x: Any, y: Any, loss_fn: Loss) -> Tensor:
    """The gradients of a rule that carries targets back through inverse layers; the loss.

    Raises:
        ValueError: for a model that is no `nn.Sequential`.
    """
    if not isinstance(chain, nn.Sequential):
        raise ValueError(
            f"This rule carries targets back through inverse layers, so it needs an "
            f"nn.Sequential; the model is a {type(chain).__name__}. Use another rule for it."
        )
    return pathway.how.backward(chain, x, y, loss_fn)


def one_number(loss: Tensor) -> Tensor:
    """The loss, if it is one number.

    Raises:
        ValueError: if it is not.
    """
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise ValueError(
            f"loss_fn returned {getattr(loss, 'shape', type(loss).__name__)!r}; it must return one "
            "number, such as the mean over the batch."
        )
    return loss
