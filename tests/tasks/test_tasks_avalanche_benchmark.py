"""Benchmarks of Avalanche as lifetimes, and back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from metaplastic.episode import TaskStream
from tasks.avalanche_benchmark import FromBenchmark, to_benchmark
from tasks.mnist import Mnist
from tests.helpers.avalanche_here import MARKS, need_avalanche
from tests.helpers.nearest import nearest_mean
from tests.helpers.real_data import needs

need_avalanche()
pytestmark = MARKS


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def data(x: Tensor, y: Tensor) -> Any:
    from avalanche.benchmarks.utils import as_classification_dataset

    held = TensorDataset(x, y)
    held.targets = y.tolist()  # type: ignore[attr-defined]
    return as_classification_dataset(held)


def split(x: Tensor, y: Tensor, test_x: Tensor, test_y: Tensor, experiences: int) -> Any:
    """Avalanche's own class-incremental benchmark of tensors."""
    from avalanche.benchmarks import class_incremental_benchmark

    sets = {"train": data(x, y), "test": data(test_x, test_y)}
    order = list(range(int(y.max()) + 1))
    return class_incremental_benchmark(sets, num_experiences=experiences, class_order=order)


def numbered() -> Any:
    """Six classes in three experiences; an input is its class and its number."""
    y, test_y = torch.arange(6).repeat(5), torch.arange(6).repeat(3)
    x, test_x = (torch.stack([own, torch.arange(len(own))], 1).float() for own in (y, test_y))
    return split(x, y, test_x, test_y, 3)


def test_a_lifetime_goes_through_the_experiences_and_is_asked_about_their_test_sets() -> None:
    stream = FromBenchmark(benchmark=numbered())
    assert isinstance(stream, TaskStream)
    spec, episode = stream.spec, stream.sample(3, seeded())
    spec.check(episode)
    assert (spec.steps, spec.queries, spec.subtasks, spec.outputs) == (30, 18, 3, 6)
    assert torch.equal(
        episode.support_subtask.flatten(1), torch.arange(3).repeat_interleave(10).expand(3, -1)
    )
    assert torch.equal(episode.support_y, episode.support_x[..., 0].long())
    assert torch.equal(episode.support_y // 2, episode.support_subtask)
    assert torch.equal(episode.query_y // 2, episode.query_subtask)
    rows = episode.support_x[..., 1].flatten(1).sort(1).values
    assert torch.equal(rows, torch.arange(30.0).expand(3, -1))
    assert not torch.equal(episode.support_x[0], episode.support_x[1])


def test_examples_may_be_few_experiences_shuffled_and_labels_permuted() -> None:
    stream = FromBenchmark(
        benchmark=numbered(), support=4, queries=2, batch=2, order="shuffled", labels="permuted"
    )
    episode = stream.sample(40, seeded())
    stream.spec.check(episode)
    assert (stream.spec.steps, stream.spec.queries) == (6, 6)
    first = episode.support_x[:, 0, 0, 0].long() // 2
    assert first.unique().tolist() == [0, 1, 2]
    named = torch.full((40, 6), -1)
    named.scatter_(1, episode.support_x[..., 0].long().flatten(1), episode.support_y.flatten(1))
    labels = named.gather(1, episode.query_x[..., 0].long())
    assert ((labels == episode.query_y) | (labels == -1)).all()
    assert (named[:, 0].unique() >= 0).sum() > 3
    mixed = FromBenchmark(benchmark=numbered(), order="iid").sample(1, seeded()).support_subtask
    assert (mixed.flatten().diff() < 0).any()


def test_one_test_set_for_all_is_divided_by_the_classes_of_the_experiences() -> None:
    from avalanche.benchmarks import benchmark_from_datasets

    many = numbered()
    rows = [e.dataset[i] for e in many.test_stream for i in range(len(e.dataset))]
    test = data(torch.stack([row[0] for row in rows]), torch.tensor([int(row[1]) for row in rows]))
    train = [experience.dataset for experience in many.train_stream]
    whole = benchmark_from_datasets(train=train, test=[test])
    episode = FromBenchmark(benchmark=whole).sample(1, seeded())
    assert torch.equal(episode.query_y // 2, episode.query_subtask)
    assert episode.query_y.shape == (1, 18)


def test_a_lifetime_as_a_benchmark_is_the_same_lifetime_again() -> None:
    episode = FromBenchmark(benchmark=numbered(), labels="permuted").sample(2, seeded())
    again = to_benchmark(episode, task=1)
    for number, experience in enumerate(again.train_stream):
        own = episode.support_subtask[1].flatten() == number
        x = torch.stack([row[0] for row in experience.dataset])
        assert torch.equal(x, episode.support_x[1].flatten(0, 1)[own])
    back = FromBenchmark(benchmark=again).sample(1, seeded())
    for name in ("support_y", "query_y"):
        assert torch.equal(
            getattr(back, name).flatten().sort().values,
            getattr(episode, name)[1].flatten().sort().values,
        )


def test_what_is_no_lifetime_is_one_sentence() -> None:
    from avalanche.benchmarks import benchmark_from_datasets
    from avalanche.benchmarks.utils import _make_taskaware_tensor_classification_dataset as tensors

    with pytest.raises(ValueError, match="type SimpleNamespace, which has no train_stream"):
        FromBenchmark(benchmark=SimpleNamespace())
    with pytest.raises(ValueError, match="support is 11; the smallest experience has 10 examples"):
        FromBenchmark(benchmark=numbered(), support=11).spec  # noqa: B018
    with pytest.raises(ValueError, match="batch is 4; it must divide the 30 examples"):
        FromBenchmark(benchmark=numbered(), batch=4).spec  # noqa: B018
    x, y = torch.randn(4, 2), torch.arange(4) % 2
    both = [tensors(x, y, task_labels=label) for label in (0, 1)]
    multi = benchmark_from_datasets(train=both, test=both)
    with pytest.raises(ValueError, match=r"task labels \[0, 1\], which a lifetime does not have"):
        FromBenchmark(benchmark=multi).spec  # noqa: B018


@needs("mnist")
@pytest.mark.data
def test_split_mnist_from_our_own_files_is_meta_tested() -> None:
    from metaplastic.evaluate.evaluation import over_lifetime

    parts = []
    for part in ("train", "test"):
        images = Mnist(split=part).load_images()[:, :20]  # type: ignore[arg-type]
        parts += [images.flatten(0, 1)[:, None] / 255, torch.arange(10).repeat_interleave(20)]
    stream = FromBenchmark(benchmark=split(*parts, experiences=5), labels="permuted")
    assert stream.spec.subtasks == 5
    report = over_lifetime(nearest_mean(stream.spec), stream, 2)
    assert 0.5 < report.on_all("accuracy").mean[-1] < 1
    assert report.on_seen("accuracy").mean[0] > 0.8
