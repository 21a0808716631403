"""The regression stream has the published distribution and order."""

from __future__ import annotations

import math

import pytest
import torch

from metaplastic.episode import TaskStream
from tasks.sines import Sines


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_value_is_its_functions_sine() -> None:
    stream = Sines(functions=3, steps_per_function=2, batch=4)
    episode = stream.sample(5, seeded())
    for x, y, subtask in (
        (episode.support_x.flatten(1, 2), episode.support_y, episode.support_subtask),
        (episode.query_x, episode.query_y, episode.query_subtask),
    ):
        y, subtask = y.reshape(5, -1), subtask.reshape(5, -1)
        assert torch.equal(x[..., :3].argmax(-1), subtask)
        for task in range(5):
            for function in range(3):
                own = subtask[task] == function
                fits = [
                    torch.allclose(a * torch.sin(x[task, own, -1] + phase), y[task, own], atol=1e-5)
                    for a, phase in stream.pool.tolist()
                ]
                assert sum(fits) == 1


def test_inputs_amplitudes_and_phases_fill_the_published_ranges() -> None:
    pool = Sines(split="test").pool
    assert pool.shape == (1000, 2)
    amplitude, phase = pool.T
    assert amplitude.min() >= 0.1
    assert amplitude.max() <= 5.1
    assert abs(float(amplitude.mean()) - 2.6) < 0.15  # standard error 0.046
    assert phase.min() >= 0
    assert phase.max() <= math.pi
    assert abs(float(phase.mean()) - math.pi / 2) < 0.1
    x = Sines().sample(4, seeded()).support_x[..., -1]
    assert x.min() >= -5
    assert x.max() <= 5
    assert abs(float(x.var()) - 100 / 12) < 0.2


def test_no_function_belongs_to_two_splits() -> None:
    pools = [Sines(split=split).pool for split in ("train", "validation", "test")]
    assert [len(pool) for pool in pools] == [400, 200, 1000]
    together = torch.cat(pools)
    assert len(torch.unique(together, dim=0)) == len(together)


def test_incremental_functions_come_one_after_another_and_iid_ones_mixed() -> None:
    apart = Sines(order="incremental").sample(2, seeded()).support_subtask[:, :, 0]
    assert torch.equal(apart, torch.arange(10).repeat_interleave(40).expand(2, -1))
    mixed = Sines(order="iid").sample(2, seeded()).support_subtask[:, :, 0]
    assert not torch.equal(mixed, apart)
    assert torch.equal(mixed.sort(-1).values, apart)


def test_lifetimes_come_from_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = Sines(order="iid").sample(3, seeded(5))
    torch.manual_seed(2)
    second = Sines(order="iid").sample(3, seeded(5))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    other = Sines(order="iid").sample(3, seeded(6))
    assert not torch.equal(first.support_x, other.support_x)


def test_shapes_are_those_of_the_spec() -> None:
    stream = Sines(functions=4, steps_per_function=3, batch=2, queries_per_function=5)
    assert isinstance(stream, TaskStream)
    spec, episode = stream.spec, stream.sample(6, seeded())
    assert episode.support_x.shape == (6, spec.steps, spec.batch, *spec.input_shape)
    assert episode.support_y.shape == (6, spec.steps, spec.batch, spec.outputs)
    assert episode.support_subtask.shape == (6, spec.steps, spec.batch)
    assert episode.query_x.shape == (6, spec.queries, *spec.input_shape)
    assert episode.query_y.shape == (6, spec.queries, spec.outputs)
    assert episode.seed.shape == (6,)
    assert spec.fingerprint != Sines(split="test").spec.fingerprint


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("split", "tset", "split is 'tset'"),
        ("order", "sorted", "order is 'sorted'"),
        ("functions", 401, "the train pool holds 400"),
        ("batch", 0, "must each be at least 1"),
    ],
)
def test_impossible_options_are_refused_in_a_sentence(
    option: str, value: object, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        Sines(**{option: value})  # type: ignore[arg-type]
