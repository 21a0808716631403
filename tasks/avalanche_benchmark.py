"""Benchmarks of Avalanche as streams of lifetimes, and a lifetime as a benchmark of Avalanche.

A lifetime goes through the train stream of a benchmark, experience by experience, each once; its
query set is the test stream. What differs between lifetimes is the order of the examples and, if so
chosen, which of them there are, the order of the experiences and the labels. Avalanche itself is
imported in `to_benchmark` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from metaplastic.episode import Episode, StreamSpec
from tasks.data import fingerprint, one_of

Examples = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class FromBenchmark:
    """Lifetimes from a benchmark with a train and a test stream of labelled examples.

    `support` and `queries` are numbers of examples of each experience, sampled for every lifetime;
    None for all. `order`: the experiences as they are, in an order that is new in every lifetime
    (`shuffled`), or all their examples mixed (`iid`). `labels`: those of the benchmark, or
    `permuted` in every lifetime, so that meta-training cannot memorize them. `batch` examples are
    one step.

    Where the test stream has not as many experiences as the train stream, a query belongs to the
    first experience that trains its class.

    Raises:
        ValueError: for what is no such benchmark; for more than one task label, which a lifetime
            does not have; for sizes that the benchmark cannot supply.
    """

    benchmark: Any = field(repr=False, compare=False)
    support: int | None = None
    queries: int | None = None
    batch: int = 1
    order: Literal["as_given", "shuffled", "iid"] = "as_given"
    labels: Literal["as_given", "permuted"] = "as_given"
    name: str = "avalanche"

    def __post_init__(self) -> None:
        one_of("order", self.order, ("as_given", "shuffled", "iid"))
        one_of("labels", self.labels, ("as_given", "permuted"))
        for name in ("train_stream", "test_stream"):
            if not hasattr(self.benchmark, name):
                raise ValueError(
                    f"benchmark is of type {type(self.benchmark).__name__}, which has no {name}; "
                    "it must be a benchmark of Avalanche with a train and a test stream."
                )

    @cached_property
    def _train(self) -> list[Examples]:
        return _enough("support", self.support, _read(self.benchmark.train_stream))

    @cached_property
    def _test(self) -> list[Examples]:
        found = _read(self.benchmark.test_stream)
        if len(found) != len(self._train):
            x, y = (torch.cat(parts) for parts in zip(*found, strict=True))
            trained = [torch.isin(y, own).nonzero().flatten() for _, own in self._train]
            before: list[int] = []
            for number, rows in enumerate(trained):
                trained[number] = rows[~torch.isin(rows, torch.tensor(before, dtype=torch.long))]
                before += rows.tolist()
            found = [(x[rows], y[rows]) for rows in trained]
        return _enough("queries", self.queries, found)

    @cached_property
    def spec(self) -> StreamSpec:
        steps = sum(self.support or len(y) for _, y in self._train)
        if self.batch < 1 or steps % self.batch:
            raise ValueError(
                f"batch is {self.batch!r}; it must divide the {steps} examples of a lifetime."
            )
        every = [*self._train, *self._test]
        return StreamSpec(
            name=self.name,
            kind="classification",
            input_shape=tuple(self._train[0][0].shape[1:]),
            outputs=1 + max(int(y.max()) for _, y in every if len(y)),
            steps=steps // self.batch,
            batch=self.batch,
            queries=sum(self.queries or len(y) for _, y in self._test),
            subtasks=len(self._train),
            fingerprint=fingerprint(self.name, *(part for pair in every for part in pair)),
        )

    def sample(self, tasks: int, generator: torch.Generator) -> Episode:
        """`tasks` lifetimes through the benchmark."""
        lifetimes = [self._lifetime(generator) for _ in range(tasks)]
        return Episode(*(torch.stack(part) for part in zip(*lifetimes, strict=True)))

    def _lifetime(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        spec, order = self.spec, torch.arange(len(self._train))
        if self.order == "shuffled":
            order = order[torch.randperm(len(order), generator=generator)]
        names = torch.arange(spec.outputs)
        if self.labels == "permuted":
            names = torch.randperm(spec.outputs, generator=generator)
        x, y, subtask = _sampled(self._train, order, self.support, generator)
        if self.order == "iid":
            mixed = torch.randperm(len(y), generator=generator)
            x, y, subtask = x[mixed], y[mixed], subtask[mixed]
        query_x, query_y, query_subtask = _sampled(self._test, order, self.queries, generator)
        steps = (-1, self.batch)
        return (
            x.reshape(*steps, *spec.input_shape), names[y].reshape(steps), subtask.reshape(steps),
            query_x, names[query_y], query_subtask,
            torch.randint(2**62, (), generator=generator),
        )  # fmt: skip


def to_benchmark(episode: Episode, task: int = 0) -> Any:
    """A lifetime as a benchmark: an experience a subtask, its queries as the test stream.

    Experiences are in the order of the subtasks, and their examples in the order of the lifetime.

    Raises:
        ImportError: where Avalanche is not installed.
        ValueError: for targets that are real numbers, or a subtask without support or queries.
    """
    try:
        from avalanche.benchmarks import benchmark_from_datasets
        from avalanche.benchmarks.utils import as_classification_dataset
    except ImportError as error:
        raise ImportError(
            "Avalanche is not installed, which a benchmark needs; run pip install --no-deps "
            "avalanche-lib==0.6.0 beside pip install 'metaplastic[continual]' torchvision."
        ) from error
    if episode.support_y.is_floating_point():
        raise ValueError("The targets are real numbers; a benchmark needs class labels.")
    one = episode.select(slice(task, task + 1))
    sets = {
        "train": (one.support_x.flatten(0, 2), one.support_y.flatten(), one.support_subtask),
        "test": (one.query_x.flatten(0, 1), one.query_y.flatten(), one.query_subtask),
    }
    streams: dict[str, list[Any]] = {}
    for name, (x, y, subtask) in sets.items():
        streams[name] = []
        for number in range(1 + int(one.support_subtask.max())):
            (rows,) = (subtask.flatten() == number).nonzero(as_tuple=True)
            if not len(rows):
                raise ValueError(f"Subtask {number} has no example in the {name} stream.")
            data = TensorDataset(x[rows], y[rows])
            data.targets = y[rows].tolist()  # type: ignore[attr-defined]
            streams[name].append(as_classification_dataset(data))
    return benchmark_from_datasets(**streams)


def _read(stream: Any) -> list[Examples]:
    """All examples of each experience as tensors, with the transformations of the stream."""
    found, task_labels = [], set()
    for experience in stream:
        rows = [experience.dataset[row] for row in range(len(experience.dataset))]
        if not rows:
            raise ValueError("An experience of the benchmark has no example; leave it out.")
        task_labels |= {int(row[-1]) for row in rows if len(row) > 2}
        x = torch.stack([torch.as_tensor(row[0]) for row in rows])
        y = torch.tensor([int(row[1]) for row in rows])
        found.append((x.to(torch.get_default_dtype()), y))
    if len(task_labels) > 1:
        raise ValueError(
            f"The benchmark has task labels {sorted(task_labels)}, which a lifetime does not have; "
            "make it class-incremental, with one task label."
        )
    return found


def _enough(option: str, wanted: int | None, found: Sequence[Examples]) -> list[Examples]:
    fewest = min(len(y) for _, y in found)
    if wanted is not None and not 1 <= wanted <= fewest:
        raise ValueError(
            f"{option} is {wanted!r}; the smallest experience has {fewest} examples. Give a number "
            "from 1 to that, or None for all."
        )
    return list(found)


def _sampled(
    every: Sequence[Examples], order: Tensor, number: int | None, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Examples of the experiences in this order, numbered by it: inputs, labels, subtask."""
    rows = []
    for place, experience in enumerate(order.tolist()):
        x, y = every[experience]
        chosen = torch.randperm(len(y), generator=generator)[: number or len(y)]
        rows.append((x[chosen], y[chosen], torch.full_like(chosen, place)))
    x, y, subtask = (torch.cat(part) for part in zip(*rows, strict=True))
    return x, y, subtask
