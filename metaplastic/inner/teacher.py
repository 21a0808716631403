"""Teachers: the error signal at a network's prediction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaplastic.objective import Objective

Loss = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class ObjectiveTeacher:
    """The error signal of a learner's objective."""

    objective: Objective

    def negative_gradient(self, prediction: Tensor, target: Any) -> Tensor:
        """The negative gradient of each example's loss."""
        return self.objective.negative_gradient(prediction, target)

    def answer(self, prediction: Tensor, target: Any) -> Tensor:
        """The label minus the error: a softmax, or the prediction itself."""
        return self.objective.label(prediction, target) - self.objective.error(prediction, target)


@dataclass(frozen=True)
class LossTeacher:
    """The error signal of a loss function that is a mean over examples."""

    loss: Loss
    objective: Objective | None = None

    def negative_gradient(self, prediction: Tensor, target: Any) -> Tensor:
        """The negative gradient of the sum over examples: that of the mean times their number."""
        slope: Tensor = torch.func.grad(lambda p: self.loss(p, target))(prediction)
        return -len(prediction) * slope

    def answer(self, prediction: Tensor, target: Any) -> Tensor:
        """A softmax over classes where loss or target is of classes, else the prediction."""
        if self.loss is F.cross_entropy or isinstance(self.loss, nn.CrossEntropyLoss):
            return prediction.softmax(min(1, prediction.dim() - 1))  # of soft labels, too
        if isinstance(target, Tensor) and not target.is_floating_point():
            of_tokens = target.shape == prediction.shape[:-1]
            return prediction.softmax(-1 if of_tokens or prediction.dim() < 3 else 1)
        return prediction
