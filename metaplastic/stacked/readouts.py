"""Readouts that compare: an answer is how near an input comes to what a unit has stored.

A one-hot label and a Hebbian rule store, in the row of each class, what its inputs have in common,
and change no other row. Such a row is a prototype, and a product is not the way to compare with
one: a row that has learned more often, or a longer one, would answer louder.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Readout(nn.Linear):
    """A Linear without bias whose answer is another function of input and weight than a product.

    Rules change its rows like those of any Linear. An exact gradient through it is refused: what
    reaches a synapse would not be its derivative (see `Backprop`).
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

    Division by the length of its own weights is what a neuron that keeps its total input constant
    does (synaptic scaling). A row of zeros answers 0.
    """

    def answer(self, rows: Tensor, weight: Tensor) -> Tensor:
        return rows @ F.normalize(weight, dim=-1).mT


class NearestMean(Readout):
    """`-|x - mean|^2`, the mean of all inputs that a row was taught: the nearest-mean classifier.

    Its last input is the constant 1 (`Counted`). Hebb's rule at rate 1 from a row of zeros then
    sums up the inputs and counts them, exactly. A row that was taught nothing answers with minus
    infinity's stand-in, -1e4.
    """

    def answer(self, rows: Tensor, weight: Tensor) -> Tensor:
        x, total, count = rows[..., :-1], weight[..., :-1], weight[..., -1]
        mean = total / count.clamp_min(1e-12)[..., None]
        near = 2 * x @ mean.mT - mean.square().sum(-1)[..., None, :]
        far = near - x.square().sum(-1, keepdim=True)
        return torch.where(count[..., None, :] > 0, far, UNTAUGHT)


UNTAUGHT = -1e4


class UnitLength(nn.Module):
    """Each example divided by its length: `... features` of length 1, or 0 where there is none."""

    def __init__(self) -> None:
        super().__init__()
        self.options: dict[str, Any] = {}

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1)


class Counted(nn.Module):
    """A last feature that is always 1, so that a Hebbian readout counts what it is taught."""

    def __init__(self) -> None:
        super().__init__()
        self.options: dict[str, Any] = {}

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 1), value=1.0)


class Gain(nn.Module):
    """`exp(log_gain) x`, one meta-learned number: how sharp a softmax over cosines is to be."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        if not gain > 0:
            raise ValueError(f"gain is {gain!r}; it must be above 0.")
        self.log_gain = nn.Parameter(torch.tensor(float(gain)).log())
        self.options: dict[str, Any] = {"gain": gain}

    def forward(self, x: Tensor) -> Tensor:
        return self.log_gain.exp() * x
