"""Anything with learn2learn's `Taskset.sample()` becomes a stream."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor

from metaplastic.episode import TaskStream
from tasks.taskset import FromTaskset


class FakeTaskset:
    """Two-pixel examples (class, instance), classes by `random`, instances by numpy."""

    def __init__(self, ways: int = 3, examples: int = 4, labels: type = int) -> None:
        self.ways, self.examples, self.labels = ways, examples, labels

    def sample(self) -> tuple[Tensor, Tensor]:
        classes = random.sample(range(50), self.ways)
        rows = [
            (float(class_), float(instance), self.labels(label))
            for label, class_ in enumerate(classes)
            for instance in np.random.permutation(20)[: self.examples]
        ]
        rows = [rows[i] for i in torch.randperm(len(rows))]
        return torch.tensor([row[:2] for row in rows]), torch.tensor([row[2] for row in rows])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_examples_are_split_into_support_and_query_class_by_class() -> None:
    stream = FromTaskset(taskset=FakeTaskset(), shots=3)
    assert isinstance(stream, TaskStream)
    spec, episode = stream.spec, stream.sample(20, seeded())
    assert (spec.steps, spec.batch, spec.queries, spec.outputs, spec.input_shape) == (
        9, 1, 3, 3, (2,),
    )  # fmt: skip
    assert episode.support_x.shape == (20, 9, 1, 2)
    assert episode.query_x.shape == (20, 3, 2)
    for task in range(20):
        x = torch.cat([episode.support_x[task, :, 0], episode.query_x[task]])
        y = torch.cat([episode.support_y[task, :, 0], episode.query_y[task]])
        assert len(torch.unique(x, dim=0)) == 12  # support and query share none
        assert torch.equal(y.bincount(), torch.tensor([4, 4, 4]))
        pairs = set(zip(x[:, 0].tolist(), y.tolist(), strict=True))
        assert len(pairs) == 3
    assert len(torch.unique(episode.support_y[:, 0])) == 3


def test_order_by_class_shows_one_class_after_another() -> None:
    stream = FromTaskset(taskset=FakeTaskset(), shots=2, order="by_class")
    episode = stream.sample(4, seeded())
    assert (episode.support_subtask[..., 0] == torch.tensor([0, 0, 1, 1, 2, 2])).all()
    classes = episode.support_x[..., 0, 0]
    assert torch.equal(classes[:, ::2], classes[:, 1::2])


def test_the_generator_alone_decides_and_global_generators_are_put_back() -> None:
    stream = FromTaskset(taskset=FakeTaskset(), shots=2)
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    expected = random.random(), np.random.random(), torch.rand(1)
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    first = stream.sample(3, seeded(7))
    assert (random.random(), np.random.random(), torch.rand(1)) == expected
    second = stream.sample(3, seeded(7))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first.support_x, stream.sample(3, seeded(8)).support_x)


def test_what_is_no_taskset_is_refused() -> None:
    with pytest.raises(ValueError, match=r"is of type object, which has no method sample; it must"):
        FromTaskset(taskset=object())  # type: ignore[arg-type]


def test_a_taskset_that_is_not_few_shot_classification_is_refused() -> None:
    with pytest.raises(ValueError, match="one integer label for each example"):
        _ = FromTaskset(taskset=FakeTaskset(labels=float)).spec
    with pytest.raises(ValueError, match=r"shots is 4; the taskset has 4 examples"):
        _ = FromTaskset(taskset=FakeTaskset(), shots=4).spec

    class Uneven(FakeTaskset):
        def sample(self) -> tuple[Tensor, Tensor]:
            return torch.zeros(3, 2), torch.tensor([0, 0, 1])

    with pytest.raises(ValueError, match=r"gave \[2, 1\] examples"):
        _ = FromTaskset(taskset=Uneven()).spec
