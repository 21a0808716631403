"""A learner whose every answer can be foretold, and a stream to try it on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metaplastic import Episode
from metaplastic.episode import StreamSpec
from metaplastic.objective import CrossEntropy, MeanSquaredError


class Recorder(nn.Module):
    """A learner that knows exactly the last label it was given, and that about every query."""

    online = True

    def __init__(self, objective: CrossEntropy | MeanSquaredError) -> None:
        super().__init__()
        self.objective = objective
        self.anything = nn.Parameter(torch.zeros(1))
        self.longest = 0

    def encode(self, x: Tensor) -> Tensor:
        return x

    def initialize(self, support_y: Tensor, seed: Tensor) -> dict[str, Tensor]:
        return {"last": torch.zeros(len(seed), 1)}

    def adapt(self, x: Tensor, y: Tensor, fast: dict[str, Tensor]) -> dict[str, Tensor]:
        self.longest = max(self.longest, x.shape[1])
        return {"last": y[:, -1, -1]}

    def predict(self, fast: dict[str, Tensor], x: Tensor) -> Tensor:
        return fast["last"][:, None].expand(-1, x.shape[1], -1)


class Constants:
    """Three constants to learn, 10, 20 and 30, met in this order: the second, third, first."""

    order = (1, 2, 0)
    values = (10.0, 20.0, 30.0)
    spec = StreamSpec("constants", "regression", (1,), 1, 6, 2, 6, 3, "by hand")

    def sample(self, tasks: int, generator: torch.Generator) -> Episode:
        met = torch.tensor(self.order).repeat_interleave(2)[None, :, None].expand(tasks, 6, 2)
        queried = torch.arange(3).repeat(2).expand(tasks, 6)
        value = torch.tensor(self.values)
        x, q = torch.zeros(tasks, 6, 2, 1), torch.zeros(tasks, 6, 1)
        seed = torch.zeros(tasks, dtype=torch.int64)
        return Episode(x, value[met][..., None], met, q, value[queried][..., None], queried, seed)
