"""The few-shot sampler, on images whose every pixel says which image it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from metaplastic.episode import Episode
from tasks.images import ArrayImages

CLASSES, INSTANCES = 12, 10


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered_images() -> Tensor:
    """Each 2x2 image is filled with its own number, class * INSTANCES + instance."""
    numbers = torch.arange(CLASSES * INSTANCES, dtype=torch.uint8).reshape(CLASSES, INSTANCES, 1, 1)
    return numbers.repeat(1, 1, 2, 2)


def stream(**options: Any) -> ArrayImages:
    return ArrayImages(array=numbered_images(), **options)


def number(x: Tensor) -> Tensor:
    return (x[..., 0, 0, 0] * 255).round().long()


def class_and_instance(x: Tensor) -> tuple[Tensor, Tensor]:
    return number(x) // INSTANCES, number(x) % INSTANCES


def test_support_and_query_share_no_image() -> None:
    episode = stream(shots=5, queries_per_class=5).sample(50, seeded())
    learned, queried = number(episode.support_x).flatten(1), number(episode.query_x)
    assert not (learned[:, :, None] == queried[:, None]).any()
    for lifetime in torch.cat([learned, queried], 1):
        assert len(torch.unique(lifetime)) == 50


def test_published_overlap_draws_the_query_as_if_nothing_had_been_learned() -> None:
    episode = stream(shots=5, queries_per_class=5, overlap=True).sample(200, seeded())
    learned, queried = number(episode.support_x).flatten(1), number(episode.query_x)
    shared = (learned[:, :, None] == queried[:, None]).any(1).float().mean()
    assert abs(float(shared) - 5 / INSTANCES) < 0.03


def test_every_image_is_a_query_equally_often_where_the_ranges_overlap_in_part() -> None:
    options = {"support_instances": (0, 6), "query_instances": (4, 10)}
    episode = stream(ways=10, shots=2, queries_per_class=3, **options).sample(400, seeded())
    _, instance = class_and_instance(episode.query_x)
    share = instance.flatten().bincount(minlength=INSTANCES)[4:] / instance.numel()
    # Instances 4 and 5 are learned in a third of the lifetimes, and are queries in the others.
    assert share[:2].max() < share[2:].min()
    assert share[2:].max() - share[2:].min() < 0.02


def test_labels_are_a_fresh_permutation_that_names_each_class_once() -> None:
    episode = stream(ways=4).sample(300, seeded())
    for task in range(300):
        label_of: dict[int, int] = {}
        classes, _ = class_and_instance(episode.support_x[task, :, 0])
        for class_, label in zip(
            classes.tolist(), episode.support_y[task, :, 0].tolist(), strict=True
        ):
            assert label_of.setdefault(class_, label) == label
        assert sorted(label_of.values()) == [0, 1, 2, 3]
        queried, _ = class_and_instance(episode.query_x[task])
        assert [label_of[int(class_)] for class_ in queried] == episode.query_y[task].tolist()
    first = episode.query_y[:, 0].bincount() / 300
    assert (first - 0.25).abs().max() < 0.1


def test_labels_out_of_a_larger_pool_use_all_of_it() -> None:
    few = stream(ways=3, slots=20, outputs=1000)
    episode = few.sample(200, seeded())
    assert few.spec.outputs == 1000
    assert set(torch.unique(episode.support_y).tolist()) == set(range(20))
    assert all(len(torch.unique(labels)) == 3 for labels in episode.support_y)


def test_global_labels_are_class_numbers_and_so_are_those_of_the_remember_set() -> None:
    oml = stream(ways=3, labels="global", remember=64)
    episode = oml.sample(20, seeded())
    assert torch.equal(class_and_instance(episode.support_x)[0], episode.support_y)
    assert torch.equal(class_and_instance(episode.query_x)[0], episode.query_y)
    assert oml.spec.outputs == CLASSES
    assert oml.spec.queries == 3 * 5 + 64 == episode.query_y.shape[1]
    remembered = episode.query_y[:, 15:]
    assert set(torch.unique(remembered).tolist()) == set(range(CLASSES))
    assert (episode.query_subtask[:, 15:] == 3).all()
    assert (episode.query_subtask[:, :15] < 3).all()


def test_classes_arrive_one_after_another_or_mixed() -> None:
    apart = stream(ways=4, shots=3, order="by_class").sample(10, seeded())
    assert torch.equal(
        apart.support_subtask[..., 0], torch.arange(4).repeat_interleave(3).expand(10, -1)
    )
    mixed = stream(ways=4, shots=3, order="iid").sample(10, seeded())
    assert not torch.equal(mixed.support_subtask, apart.support_subtask)
    for episode in (apart, mixed):
        classes, _ = class_and_instance(episode.support_x)
        for task in range(10):
            pairs = set(
                zip(
                    classes[task].flatten().tolist(),
                    episode.support_subtask[task].flatten().tolist(),
                    strict=True,
                )
            )
            assert len(pairs) == 4


def test_lifetimes_test_on_held_out_instances_by_option() -> None:
    published = stream(
        shots=7, queries_per_class=3, support_instances=(0, 7), query_instances=(7, 10)
    )
    episode = published.sample(10, seeded())
    assert class_and_instance(episode.support_x)[1].max() == 6
    assert class_and_instance(episode.query_x)[1].min() == 7


def test_color_images_come_channels_first_and_in_unit_range() -> None:
    array = torch.randint(0, 256, (5, 10, 4, 6, 3), generator=seeded(), dtype=torch.uint8)
    color = ArrayImages(array=array, ways=2, labels="global", shots=1, queries_per_class=1)
    episode = color.sample(1, seeded())
    assert color.spec.input_shape == (3, 4, 6) == episode.query_x.shape[2:]
    own = array[episode.query_y[0, 0]].movedim(-1, 1) / 255
    assert (episode.query_x[0, 0] == own).flatten(1).all(1).any()


def test_lifetimes_come_from_the_generator_alone() -> None:
    def drawn(seed: int) -> Episode:
        torch.manual_seed(torch.seed())
        return stream(labels="global", remember=8).sample(3, seeded(seed))

    assert all(torch.equal(a, b) for a, b in zip(drawn(5), drawn(5), strict=True))
    assert not torch.equal(drawn(5).support_x, drawn(6).support_x)


def test_shapes_are_those_of_the_spec() -> None:
    few = stream(ways=3, shots=4, batch=2, queries_per_class=2)
    spec, episode = few.spec, few.sample(5, seeded())
    assert episode.support_x.shape == (5, spec.steps, spec.batch, *spec.input_shape)
    assert episode.support_y.shape == (5, spec.steps, spec.batch) == episode.support_subtask.shape
    assert episode.query_x.shape == (5, spec.queries, *spec.input_shape)
    assert episode.query_y.shape == (5, spec.queries) == episode.query_subtask.shape
    assert episode.support_x.dtype == torch.float32
    assert len(set(episode.seed.tolist())) == 5


def test_the_fingerprint_covers_pixels_and_what_may_be_drawn() -> None:
    altered = numbered_images()
    altered[0, 0, 0, 0] ^= 1
    prints = [
        stream().spec.fingerprint,
        ArrayImages(array=altered).spec.fingerprint,
        stream(rotations=True).spec.fingerprint,
        stream(support_instances=(0, 9)).spec.fingerprint,
    ]
    assert len(set(prints)) == 4
    assert stream(ways=2).spec.fingerprint == prints[0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"ways": 13}, "ways is 13; this split has 12 classes"),
        ({"ways": 0}, "ways is 0"),
        ({"order": "sorted"}, "order is 'sorted'"),
        ({"labels": "none"}, "labels is 'none'"),
        ({"slots": 4}, "slots is 4; 5 ways"),
        ({"outputs": 4}, "outputs is 4; the labels in use need 5"),
        ({"remember": 64}, "set labels='global'"),
        ({"labels": "global", "slots": 20}, "slots is 20"),
        ({"shots": 6}, "6 shots and 5 queries do not fit"),
        ({"batch": 2}, "batch is 2; it must divide the 25 images of a lifetime"),
        ({"batch": 2, "order": "by_class"}, "must divide the 5 images of a class"),
        ({"query_instances": (5, 11)}, "query_instances is"),
    ],
)
def test_impossible_lifetimes_are_refused_in_a_sentence(
    options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        stream(**options).sample(1, seeded())


def test_images_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="must be uint8"):
        _ = ArrayImages(array=torch.zeros(3, 4, 5, 5)).spec
    with pytest.raises(ValueError, match="square"):
        _ = ArrayImages(array=torch.zeros(9, 20, 5, 6, dtype=torch.uint8), rotations=True).spec


def test_neighbors_come_in_runs_of_different_consecutive_classes() -> None:
    made = stream(ways=7, neighbors=3, labels="global", order="by_class", shots=2)
    classes = made.sample(200, seeded()).support_y[:, ::2, 0]
    assert all(len(set(row)) == 7 for row in classes.tolist())
    steps = classes.diff(dim=1) % CLASSES
    assert (steps[:, torch.arange(1, 7) % 3 != 0] == 1).all()
    assert set(classes[:, 0].tolist()) == set(range(CLASSES))


def test_more_runs_than_there_are_classes_for_are_refused() -> None:
    with pytest.raises(ValueError, match="runs of 7 neighbors are 2 runs; the 12 classes"):
        stream(ways=8, neighbors=7).spec  # noqa: B018


@pytest.mark.parametrize("order", ["iid", "by_class"])
def test_repeats_show_every_image_so_many_times(order: str) -> None:
    often = stream(ways=3, shots=4, repeats=5, order=order, batch=2)
    assert often.spec.steps == 3 * 4 * 5 // 2
    assert often.spec.fingerprint != stream(ways=3, shots=4, order=order, batch=2).spec.fingerprint
    episode = often.sample(20, seeded())
    shown = number(episode.support_x).flatten(1)
    for task in range(20):
        images, times = torch.unique(shown[task], return_counts=True)
        assert len(images) == 12
        assert set(times.tolist()) == {5}
        assert not set(images.tolist()) & set(number(episode.query_x)[task].tolist())
    subtask = episode.support_subtask.flatten(1)
    ordered = subtask.equal(subtask.sort(1).values)
    assert ordered == (order == "by_class")
