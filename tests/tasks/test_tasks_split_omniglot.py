"""Split-Omniglot is the published stream: class after class, and never a test image learned."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, get_type_hints

import pytest
import torch
from torch import Tensor

from experiments.lab.settings.registry import typed
from tasks import build
from tasks.omniglot import Omniglot, _split
from tasks.split_omniglot import PROTOCOLS, SplitOmniglot
from tests.helpers.real_data import needs

BACKGROUND = [f"images_background/{number // 32:02d}/{number:03d}" for number in range(964)]
EVALUATION = [f"images_evaluation/{number // 33:02d}/{number:03d}" for number in range(659)]


@pytest.fixture
def numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the archives: 2x2 images that say which class and instance they are."""

    def made_images(stream: Omniglot) -> Tensor:
        classes = torch.tensor(_split(stream.split, BACKGROUND, EVALUATION))[:, None]
        instance = torch.arange(20).expand(len(classes), -1)
        said = [(classes // 256).expand_as(instance), (classes % 256).expand_as(instance), instance]
        return torch.stack([*said, instance], -1).to(torch.uint8).view(-1, 20, 2, 2)

    monkeypatch.setattr(Omniglot, "load_images", made_images)


def class_and_instance(x: Tensor) -> tuple[Tensor, Tensor]:
    high, low, instance, _ = (255 * x.flatten(-3)).round().long().unbind(-1)
    return 256 * high + low, instance


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.usefixtures("numbered")
def test_a_lifetime_is_600_characters_one_after_another_15_drawings_each() -> None:
    stream = SplitOmniglot(split="test")
    episode = stream.sample(2, seeded())
    assert (stream.spec.name, stream.spec.steps, stream.spec.batch) == ("split_omniglot", 9000, 1)
    assert stream.spec.queries == 3000
    assert stream.spec.outputs == stream.spec.subtasks == 600
    class_, _ = class_and_instance(episode.support_x)  # tasks steps batch
    blocks = class_.view(2, 600, 15)
    assert (blocks == blocks[..., :1]).all()
    assert all(len(torch.unique(lifetime)) == 600 for lifetime in blocks[..., 0])
    assert blocks.min() >= 964
    assert (blocks[:, 1:, 0] < blocks[:, :-1, 0]).float().mean() > 0.4  # no order of numbers
    one_each = torch.arange(600).repeat_interleave(15)
    assert torch.equal(episode.support_subtask[..., 0], one_each.expand(2, -1))


@pytest.mark.usefixtures("numbered")
@pytest.mark.parametrize("split", ["train", "test"])
def test_no_query_image_was_learned_from(split: Any) -> None:
    episode = SplitOmniglot(split=split).sample(2, seeded())
    learned, queried = class_and_instance(episode.support_x), class_and_instance(episode.query_x)
    first = learned[1].view(2, 600, 15).sort(-1).values
    last = queried[1].view(2, 600, 5).sort(-1).values
    assert torch.equal(first, torch.arange(15).expand(2, 600, -1))
    assert torch.equal(last, torch.arange(15, 20).expand(2, 600, -1))
    for task in range(2):  # and the label of a class is the same in both
        label = dict(
            zip(learned[0][task].flatten().tolist(), episode.support_y[task].flatten(), strict=True)
        )
        assert [label[c] for c in queried[0][task].tolist()] == episode.query_y[task].tolist()


@pytest.mark.usefixtures("numbered")
def test_a_seed_fixes_the_lifetime() -> None:
    def drawn(seed: int) -> Any:
        return SplitOmniglot(split="test", ways=50).sample(2, seeded(seed))

    assert all(torch.equal(a, b) for a, b in zip(drawn(1), drawn(1), strict=True))
    assert not torch.equal(drawn(1).support_x, drawn(2).support_x)


@pytest.mark.usefixtures("numbered")
def test_a_split_with_too_few_characters_says_what_it_has() -> None:
    validation = SplitOmniglot(split="validation")
    few = len(validation.load_images())
    with pytest.raises(ValueError, match=f"ways is 600; this split has {few} classes. Use at"):
        validation.sample(1, seeded())
    turned = SplitOmniglot(split="validation", ways=4 * few, rotations=True)
    assert turned.sample(1, seeded()).support_x.shape[1] == 4 * few * 15
    with pytest.raises(ValueError, match=f"or make them {4 * few} by rotations=True"):
        _ = dataclasses.replace(turned, rotations=False).spec


@pytest.mark.usefixtures("numbered")
def test_training_lifetimes_may_be_shorter_and_use_every_drawing() -> None:
    words = {"ways": "80", "shots": "5", "support_instances": "none", "query_instances": "None"}
    hints = get_type_hints(SplitOmniglot)
    options = {name: typed(name, text, hints[name]) for name, text in words.items()}
    stream = build("split_omniglot", split="train", rotations=True, distort=0.1, **options)
    assert (stream.spec.steps, stream.spec.queries) == (400, 400)
    plain = build("split_omniglot", split="train", **options)
    learned = class_and_instance(plain.sample(4, seeded()).support_x)[1]
    assert set(learned.flatten().tolist()) == set(range(20))


@pytest.mark.usefixtures("numbered")
@pytest.mark.parametrize(("protocol", "size"), [("oml", 84), ("anml", 28)])
def test_a_protocol_is_the_published_splits_and_images(protocol: Any, size: int) -> None:
    train, test = SplitOmniglot(protocol=protocol), SplitOmniglot(protocol=protocol, split="test")
    assert (train.split, test.split) == ("paper", "paper_test")
    for stream, first, number in ((train, 0, 963), (test, 964, 650)):
        assert (stream.image_size, stream.ink) == (size, "black")
        assert stream.classes == number
        every = dataclasses.replace(stream, ways=number)  # what it came to is not refused
        x = every.sample(1, seeded()).query_x
        class_, _ = class_and_instance(1 - x)
        assert torch.equal(torch.unique(class_), torch.arange(first, first + number))


def test_without_a_protocol_images_are_omniglots_own() -> None:
    stream, own = SplitOmniglot(split="background"), Omniglot(split="background")
    assert (stream.split, stream.image_size, stream.ink) == (own.split, own.image_size, own.ink)
    assert SplitOmniglot(image_size=14, ink="black").image_size == 14


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"protocol": "gemcl"}, "protocol is 'gemcl'; it must be one of oml, anml, thousand"),
        ({"protocol": "oml", "image_size": 28}, "image_size is 28, but protocol='oml' has 84; lea"),
        ({"protocol": "anml", "image_size": 84}, "image_size is 84, but protocol='anml' has 28"),
        ({"protocol": "oml", "ink": "white"}, "ink is 'white', but protocol='oml' has 'black'"),
        ({"protocol": "anml", "split": "validation"}, "split is 'validation', which shares class"),
        ({"protocol": "oml", "split": "background"}, "it must be train or test, or leave protocol"),
        ({"protocol": "oml", "split": "tset"}, "split is 'tset'; it must be one of train"),
        ({"split": "tset"}, "split is 'tset'; it must be one of train"),
        ({"image_size": 0}, "image_size is 0; it must be 1 pixel or more"),
    ],
)
def test_what_contradicts_a_protocol_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SplitOmniglot(**options)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_a_protocol_says_may_be_said_again(protocol: Any) -> None:
    again = SplitOmniglot(protocol=protocol, split="train", **PROTOCOLS[protocol])
    assert again == SplitOmniglot(protocol=protocol)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METAPLASTIC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.data
@pytest.mark.usefixtures("kept")
@needs("omniglot")
def test_600_real_characters_are_met() -> None:
    stream = SplitOmniglot(split="test", protocol="anml")
    episode = stream.sample(1, seeded())
    episode.check()
    assert stream.classes == 650
    assert episode.support_x.shape == (1, 9000, 1, 1, 28, 28)
    seen = torch.cat([episode.support_x[0, :, 0], episode.query_x[0]]).flatten(1)
    assert len(torch.unique(seen, dim=0)) > 11_900  # a few lines are drawn alike
    assert 0.85 < seen.mean() < 0.98
