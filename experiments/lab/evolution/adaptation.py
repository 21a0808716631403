"""`Adaptive` plasticity and `KolenPollackAlignment` for a population of rules at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from experiments.lab.evolution.rows import Rows
from metaplastic.plasticity.adaptive import INPUTS

Numbers = Mapping[str, Tensor]
"""The numbers of the rules by name, each `rules`."""


class LifeState(NamedTuple):
    """Where lifetimes are, each `lifetimes numbers`; `back` is None by exact backprop."""

    flat: Tensor
    back: Tensor | None
    mean: Tensor
    square: Tensor

    def detached(self) -> LifeState:
        """The same without a graph, as new tensors of the same memory."""
        back = None if self.back is None else self.back.detach()
        return LifeState(self.flat.detach(), back, self.mean.detach(), self.square.detach())

    def tensors(self) -> list[Tensor]:
        """What of it there is."""
        return [part for part in self if part is not None]


def columns(population: Sequence[Mapping[str, float]]) -> dict[str, Tensor]:
    """The numbers of these rules, float64."""
    return {
        name: torch.tensor([options[name] for options in population], dtype=torch.float64)
        for name in population[0]
    }


class Adaptation:
    """The change of rows of parameters, with the numbers of a rule for each row.

    Args:
        lives: of each rule.
        like: the rows, `rules * lives` of them.
    """

    def __init__(self, numbers: Numbers, lives: int, rows: Rows, like: Tensor) -> None:
        self.of_rules = {
            name: value.repeat_interleave(lives)[:, None].to(like.dtype)
            for name, value in numbers.items()
        }
        self.every = numbers["sleep"].detach().repeat_interleave(lives)
        self.follows = bool((numbers["feedback_decay"] != 0).any())

        def spread(values: Sequence[float]) -> Tensor:
            pairs = zip(values, rows.sizes, strict=True)
            return torch.cat([torch.full((size,), float(v), dtype=like.dtype) for v, size in pairs])

        inputs, hidden = spread(rows.inputs), spread(rows.hidden)
        self.weights = (inputs > 0).to(like.dtype)
        relative = torch.where(inputs > 0, inputs / INPUTS, 1.0).log()
        exponent = hidden * self["hidden"].log() - self["fan_in"] * relative
        self.scale = self["rate"] * exponent.exp()

    def __getitem__(self, name: str) -> Tensor:
        return self.of_rules[name]

    def sleeping(self, number: int) -> Tensor | None:
        """The rows that sleep before the step of this number, from 0; None for none."""
        due = torch.remainder(number, self.every) == 0
        return due if number > 0 and bool(due.any()) else None

    def step(self, state: LifeState, push: Tensor, number: int) -> LifeState:
        """The state after the step of this number, from 1, in which `push` is received."""
        mean = torch.lerp(state.mean, push, 1 - self["mean"])
        square = torch.lerp(state.square, push.square(), 1 - self["square"])
        ratio = (1 - self["nesterov"]) / (1 - self["mean"] ** number) * mean
        ratio = torch.addcmul(ratio, self["nesterov"], push)
        # The root of 0 has no derivative.
        spread = (square / (1 - self["square"] ** number) + 1e-24).sqrt() + self["small"]
        ratio = (ratio / spread).clamp(-self["clip"], self["clip"])
        rate = self.scale * (1 + number / self["decay"]) ** -self["power"]
        change = (ratio - self["weight_decay"] * self.weights * state.flat) * rate
        back = state.back
        if back is not None:
            follow = self["gain"] * change
            if self.follows:
                follow = follow + self["feedback_decay"] * (state.flat - back)
            back = back + follow
        return LifeState(state.flat + change, back, mean, square)
