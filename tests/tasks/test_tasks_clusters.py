"""Clusters: few directions matter, and they are the same in all lifetimes."""

from __future__ import annotations

import pytest
import torch

from metaplastic.episode import TaskStream
from tasks.clusters import CLASSES, Clusters


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_lifetimes_are_as_the_spec_says_and_labels_are_permuted() -> None:
    stream = Clusters(ways=4, shots=6, queries_per_class=3, batch=8)
    assert isinstance(stream, TaskStream)
    episode = stream.sample(30, seeded())
    stream.spec.check(episode)
    for life in range(30):
        pairs = {*zip(episode.support_subtask[life].flatten().tolist(),
                      episode.support_y[life].flatten().tolist(), strict=True)}  # fmt: skip
        assert len(pairs) == 4
        assert pairs >= {*zip(episode.query_subtask[life].tolist(),
                              episode.query_y[life].tolist(), strict=True)}  # fmt: skip
    first = episode.query_y[:, 0]
    assert first.unique().tolist() == [0, 1, 2, 3]
    assert (episode.support_subtask.flatten().bincount() == 30 * 6).all()


def test_class_by_class_is_in_order_and_iid_is_not() -> None:
    for order, sorted_ in (("by_class", True), ("iid", False)):
        stream = Clusters(order=order, shots=4, batch=2)  # type: ignore[arg-type]
        rises = (stream.sample(1, seeded()).support_subtask.flatten().diff() >= 0).all()
        assert bool(rises) is sorted_


def test_examples_are_their_centers_with_noise_in_the_space_of_the_signal() -> None:
    stream = Clusters(ways=3, queries_per_class=400, inputs=10, signal=3, modes=2, spread=0.01,
                      nuisance=2.0)  # fmt: skip
    episode = stream.sample(1, seeded())
    assert torch.allclose(stream.rotation @ stream.rotation.mT, torch.eye(10), atol=1e-5)
    values = episode.query_x[0] @ stream.rotation.mT
    assert values[:, 3:].std() == pytest.approx(2.0, rel=0.05)
    centers = stream.centers.flatten(0, 1)
    nearest = torch.cdist(values[:, :3], centers).min(1)
    assert nearest.values.mean() < 0.05
    for number in range(3):  # all examples of a class are of the two centers of one
        own = nearest.indices[episode.query_subtask[0] == number] // 2
        assert (own == own.mode().values).float().mean() > 0.9


def test_splits_share_no_class_but_have_the_same_rotation() -> None:
    splits = [Clusters(split=split) for split in CLASSES]  # type: ignore[arg-type]
    assert [len(stream.centers) for stream in splits] == list(CLASSES.values())
    assert torch.equal(splits[0].rotation, splits[2].rotation)
    assert torch.cdist(splits[0].centers[:, 0], splits[2].centers[:, 0]).min() > 1e-3
    assert len({stream.spec.fingerprint for stream in splits}) == 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"shots": 0}, "shots is 0; it must be at least 1"),
        ({"ways": 500, "split": "test"}, "ways is 500; the test split has 400 classes"),
        ({"signal": 40}, "signal is 40, more than the 32 inputs; use at most that many"),
        ({"batch": 3}, "batch is 3; it must divide the 50 examples of a lifetime"),
        (
            {"order": "by_class", "batch": 4},
            "batch is 4; it must divide the 10 examples",
        ),
        ({"spread": -1.0}, "spread is -1.0; it must be a finite number from 0 on"),
        ({"nuisance": float("inf")}, "nuisance is inf; it must be a finite number from 0 on"),
        ({"split": "training"}, "split is 'training'; it must be one of train, validation, test"),
    ],
)
def test_what_cannot_be_sampled_is_one_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence.replace(".", "[.]")):
        Clusters(**options)  # type: ignore[arg-type]
