"""`Adaptive` plasticity for a population of rules at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from metaplastic.plasticity.adaptive import INPUTS


class Adaptation:
    """`Adaptive` for rows of parameters, with the numbers of a rule for each row.

    Args:
        lives: of each rule.
        sizes, inputs_of, hidden_of: parameter by parameter, as `population.Rows` has them.
        like: the rows, `rules * lives` of them.
    """

    def __init__(
        self,
        population: Sequence[Mapping[str, float]],
        lives: int,
        sizes: Sequence[int],
        inputs_of: Sequence[int],
        hidden_of: Sequence[bool],
        like: Tensor,
    ) -> None:
        for name in population[0]:
            column = [[options[name]] for options in population for _ in range(lives)]
            setattr(self, name, torch.tensor(column, dtype=like.dtype))

        def spread(values: Sequence[float]) -> Tensor:
            pairs = zip(values, sizes, strict=True)
            return torch.cat([torch.full((size,), float(v), dtype=like.dtype) for v, size in pairs])

        inputs, hidden = spread(inputs_of), spread(hidden_of)
        self.weights = (inputs > 0).to(like.dtype)
        relative = torch.where(inputs > 0, inputs / INPUTS, 1.0).log()
        self.scale = self.rate * (hidden * self.hidden.log() - self.fan_in * relative).exp()
        self.traces = [torch.zeros_like(like), torch.zeros_like(like)]

    def __getattr__(self, name: str) -> Tensor:  # the numbers that `__init__` sets by their names
        raise AttributeError(f"The rules of this population have no {name!r}.")

    @torch.no_grad()
    def change(self, push: Tensor, weights: Tensor, step: int) -> Tensor:
        mean, square = self.traces
        mean.lerp_(push, 1 - self.mean)
        square.lerp_(push.square(), 1 - self.square)
        ratio = (1 - self.nesterov) / (1 - self.mean**step) * mean
        ratio.addcmul_(self.nesterov, push)
        spread = (square / (1 - self.square**step)).sqrt_().add_(self.small)
        ratio.div_(spread).clamp_(-self.clip, self.clip)
        rate = self.scale * (1 + step / self.decay) ** -self.power
        return ratio.sub_(self.weight_decay * self.weights * weights).mul_(rate)
