"""Objectives: the loss of a lifetime, and the teaching signals that a rule may receive.

There are three teaching signals, since rules differ in which they use: the `label`, the `error`
(label minus prediction), and the `negative_gradient` of the loss with respect to the readout's
output. All are per example, without a factor 1/batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from metaplastic.episode import StreamSpec


@runtime_checkable
class Objective(Protocol):
    """The interface of an objective; any object with these members is one."""

    # Predictions are `... outputs`, targets as the stream gives them.
    @property
    def outputs(self) -> int:
        """The width of predictions."""
        ...

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of each example: `...`."""
        ...

    def label(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The target as an output: `... outputs`."""
        ...

    def error(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The target minus the prediction: `... outputs`."""
        ...

    def negative_gradient(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The direction in which the loss falls fastest: `... outputs`."""
        ...


@dataclass(frozen=True)
class CrossEntropy:
    """Classification over `outputs` label slots; targets are class indices.

    Raises:
        ValueError: from its methods, for targets that are real numbers.
    """

    outputs: int

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Per example: `... outputs`, `...` -> `...`."""
        self._check(target)
        flat = F.cross_entropy(prediction.flatten(0, -2), target.flatten(), reduction="none")
        return flat.view(target.shape)

    def label(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The one-hot target, `... outputs`, in the prediction's dtype."""
        self._check(target)
        slots = torch.arange(self.outputs, device=target.device)
        return (target[..., None] == slots).to(prediction.dtype)

    def error(self, prediction: Tensor, target: Tensor) -> Tensor:
        """One-hot minus softmax, `... outputs`."""
        return self.label(prediction, target) - prediction.softmax(-1)

    def negative_gradient(self, prediction: Tensor, target: Tensor) -> Tensor:
        """For cross-entropy on logits the error is the negative gradient."""
        return self.error(prediction, target)

    def accuracy(self, prediction: Tensor, target: Tensor) -> Tensor:
        """1 where the largest output is the target's, else 0: `...`."""
        return (prediction.argmax(-1) == target).to(prediction.dtype)

    def check_labels(self, target: Tensor) -> None:
        """Raise ValueError unless all labels are slots; called once for a lifetime.

        Only labels on the processor are read, where that costs nothing: check there what is going
        to an accelerator, as `MetaTrainer` does. On one, CUDA's own assertion stops the program.
        """
        self._check(target)
        if torch.compiler.is_compiling() or not target.numel():
            return
        if target.device.type != "cpu":
            if target.device.type == "cuda":
                within = (target >= 0) & (target < self.outputs)
                torch._assert_async(within.all())  # without waiting for it
            return
        smallest, largest = (end.item() for end in target.aminmax())
        if smallest < 0 or largest >= self.outputs:
            raise ValueError(
                f"The labels go from {smallest} to {largest}, but there are {self.outputs} "
                f"outputs, for labels 0 to {self.outputs - 1}; number the classes of a lifetime "
                "from 0, or give the objective and the readout more outputs."
            )

    def _check(self, target: Tensor) -> None:
        if target.is_floating_point():
            raise ValueError(
                f"The targets are {target.dtype}, but classification needs class indices; "
                "give integers from 0, or use MeanSquaredError."
            )


@dataclass(frozen=True)
class MeanSquaredError:
    """Regression onto `outputs` real numbers; the loss is the mean over them.

    Raises:
        ValueError: from its methods, for targets that are not real or lack the axis of outputs.
    """

    outputs: int

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Per example: `... outputs`, `... outputs` -> `...`."""
        self._check(target)
        return (prediction - target).square().mean(-1)

    def label(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The target itself."""
        self._check(target)
        return target.to(prediction.dtype)

    def error(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Target minus prediction, `... outputs`."""
        self._check(target)
        return target - prediction

    def negative_gradient(self, prediction: Tensor, target: Tensor) -> Tensor:
        """`2 / outputs` times the error: the derivative of the mean of squares."""
        return self.error(prediction, target) * (2 / self.outputs)

    def _check(self, target: Tensor) -> None:
        # Else a target without its last axis would be broadcast against every example, silently.
        if target.shape[-1] != self.outputs or not target.is_floating_point():
            raise ValueError(
                f"The targets are {target.dtype} of shape {tuple(target.shape)}, but regression "
                f"needs real numbers whose last axis is the {self.outputs} outputs."
            )


def objective_for(spec: StreamSpec) -> CrossEntropy | MeanSquaredError:
    """The usual objective of a stream of this kind."""
    if spec.kind == "classification":
        return CrossEntropy(spec.outputs)
    return MeanSquaredError(spec.outputs)
