"""Sines: ten functions to learn one after another, each from a few hundred points.

The regression stream of Javed & White (2019) and Lindsey & Litwin-Kumar (2020):
y = A sin(x + phase) for x uniform in [-5, 5], A = 5 (u + 0.02) with u uniform in [0, 1], and
phase uniform in [0, pi]. A learner sees a one-hot name of the function and x, and must still know
the first function after the last. The pools have the published sizes, 400 functions to train on
and 1000 others to test on, drawn once from a fixed seed; 200 more are set aside for validation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from metaplastic.episode import Episode, StreamSpec
from tasks.data import fingerprint, one_of

POOLS = {"train": 400, "validation": 200, "test": 1000}


@dataclass(frozen=True, kw_only=True)
class Sines:
    """`functions` sines a lifetime, `steps_per_function` minibatches of `batch` points each.

    `order="incremental"` presents one function after another; `"iid"` shuffles the minibatches
    of the whole lifetime, which makes forgetting impossible and so shows its price.
    """

    split: Literal["train", "validation", "test"] = "train"
    order: Literal["incremental", "iid"] = "incremental"
    functions: int = 10
    steps_per_function: int = 40
    batch: int = 32
    queries_per_function: int = 32
    seed: int = 1000  # of the pools, not of the lifetimes

    def __post_init__(self) -> None:
        one_of("split", self.split, POOLS)
        one_of("order", self.order, ("incremental", "iid"))
        if not 1 <= self.functions <= POOLS[self.split]:
            raise ValueError(
                f"functions is {self.functions!r}; the {self.split} pool holds {POOLS[self.split]}."
            )
        if min(self.steps_per_function, self.batch, self.queries_per_function) < 1:
            raise ValueError(
                "steps_per_function, batch and queries_per_function must each be at least 1."
            )

    @cached_property
    def pool(self) -> Tensor:
        """Amplitude and phase of every function of the split (pool, 2); pools share nothing."""
        source = torch.Generator().manual_seed(self.seed)
        uniform = torch.rand(sum(POOLS.values()), 2, generator=source, dtype=torch.float64)
        every = torch.stack([5 * (uniform[:, 0] + 0.02), math.pi * uniform[:, 1]], -1)
        first = sum(POOLS[before] for before in list(POOLS)[: list(POOLS).index(self.split)])
        return every[first : first + POOLS[self.split]].float()

    @cached_property
    def spec(self) -> StreamSpec:
        return StreamSpec(
            name="sines",
            kind="regression",
            input_shape=(self.functions + 1,),
            outputs=1,
            steps=self.functions * self.steps_per_function,
            batch=self.batch,
            queries=self.functions * self.queries_per_function,
            subtasks=self.functions,
            fingerprint=fingerprint("sines", self.split, self.pool),
        )

    def sample(self, tasks: int, generator: torch.Generator) -> Episode:
        """`tasks` lifetimes, each of `functions` different sines of the pool in random order."""
        drawn = torch.rand(tasks, len(self.pool), generator=generator).topk(self.functions).indices
        curves = self.pool[drawn]  # tasks functions 2
        arrival = torch.arange(self.functions).repeat_interleave(self.steps_per_function)
        support = arrival.expand(tasks, -1)  # tasks steps
        if self.order == "iid":
            shuffled = torch.rand(tasks, len(arrival), generator=generator).argsort(-1)
            support = arrival[shuffled]
        subtasks = torch.arange(self.functions).repeat_interleave(self.queries_per_function)
        query = subtasks.expand(tasks, -1)  # tasks queries
        support_x, support_y = self._points(curves, support, self.batch, generator)
        query_x, query_y = self._points(curves, query, 1, generator)
        return Episode(
            support_x=support_x,
            support_y=support_y,
            support_subtask=support[..., None].expand(-1, -1, self.batch),
            query_x=query_x.squeeze(2),
            query_y=query_y.squeeze(2),
            query_subtask=query,
            seed=torch.randint(2**62, (tasks,), generator=generator),
        )

    def _points(
        self, curves: Tensor, function: Tensor, batch: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Inputs (tasks rows batch functions+1) and values of curve `function` (tasks rows)."""
        amplitude, phase = (
            curves[..., part].gather(1, function)[..., None] for part in range(2)
        )  # tasks rows 1
        x = torch.rand(*function.shape, batch, generator=generator).mul_(10).sub_(5)
        y = amplitude * torch.sin(x + phase)
        names = torch.eye(self.functions, self.functions + 1)[function]  # x goes in the last slot
        inputs = names[:, :, None].repeat(1, 1, batch, 1)
        inputs[..., -1] = x
        return inputs, y[..., None]
