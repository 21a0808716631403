"""Readouts that compare: the output is the similarity of an input to a unit's prototype.

A one-hot label and a Hebbian rule sum the inputs of each class in its row, and change no other row.
Such a row is a prototype. A product with it depends on its length and on the number of its
examples; the readouts here do not.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Readout(nn.Linear):
    """A Linear without bias whose output is another function of input and weight than the product.

    Rules change its rows like those of any Linear. An exact gradient through it is refused: the
    outer product of signal and input would not be its derivative (see `Backprop`).
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)
        self.options: dict[str, Any] = {"in_features": in_features, "out_features": out_features}

    @abstractmethod
    def answer(self, rows: Tensor, weight: Tensor) -> Tensor:
        """`(tasks) rows pre`, `(tasks) post pre` -> `(tasks) rows post`."""

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(x, self.weight)


class CosineReadout(Readout):
    """`w x / |w|`: on inputs of unit length, the cosine of the angle between input and row.

    Division by the length of its weights is synaptic scaling, which keeps a neuron's total input
    constant. The output of a row of zeros is 0.
    """

    def answer(self, rows: Tensor, weight: Tensor) -> Tensor:
        return rows @ F.normalize(weight, dim=-1).mT


class NearestMean(Readout):
    """`-|x - mean|^2`, with the mean of the inputs of a row's class: the nearest-mean classifier.

    Its last input is the constant 1 (`Counted`). Hebb's rule at rate 1 from a row of zeros then
    sums the inputs and counts them, exactly. The output of a row without examples is -1e4, in the
    place of minus infinity.
    """

    def answer(self, rows: Tensor, weight: Tensor) -> Tensor:
        x, total, count = rows[..., :-1], weight[..., :-1], weight[..., -1]
        mean = total / count.clamp_min(1e-12)[..., None]
        near = 2 * x @ mean.mT - mean.square().sum(-1)[..., None, :]
        far = near - x.square().sum(-1, keepdim=True)
        return torch.where(count[..., None, :] > 0, far, UNTAUGHT)


UNTAUGHT = -1e4


class UnitLength(nn.Module):
    """Each example divided by its length: `... features` of length 1, or zeros if it is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.options: dict[str, Any] = {}

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1)


class Counted(nn.Module):
    """A last feature that is always 1, so that a Hebbian readout counts its examples."""

    def __init__(self) -> None:
        super().__init__()
        self.options: dict[str, Any] = {}

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 1), value=1.0)


class Gain(nn.Module):
    """`exp(log_gain) x`, with a meta-learned gain, the inverse temperature of a softmax."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        if not gain > 0:
            raise ValueError(f"gain is {gain!r}; it must be above 0.")
        self.log_gain = nn.Parameter(torch.tensor(float(gain)).log())
        self.options: dict[str, Any] = {"gain": gain}

    def forward(self, x: Tensor) -> Tensor:
        return self.log_gain.exp() * x
