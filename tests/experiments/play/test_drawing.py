"""Strokes of the page, as images that the encoder was meta-trained on."""

from __future__ import annotations

import json

import pytest
import torch

from experiments.lab.play.drawing import MOST_POINTS, image_of, strokes_of
from experiments.lab.play.errors import PlayError
from tests.experiments.play.drawings import CROSS, RING, TENT


def test_a_drawing_has_ink_1_in_the_middle_of_paper_0() -> None:
    image = image_of(strokes_of(RING)).float()
    assert image.shape == (28, 28)
    assert image[0].max() == image[:, -1].max() == 0
    assert image.max() > 200
    across = torch.arange(28.0)
    for axis in (0, 1):
        mass = image.sum(1 - axis)
        assert (mass * across).sum() / mass.sum() == pytest.approx(13.5, abs=0.7)


@pytest.mark.parametrize("drawing", [CROSS, RING, TENT])
def test_where_and_how_large_it_was_drawn_does_not_matter(drawing: str) -> None:
    strokes = strokes_of(drawing)
    moved = [[(0.25 * x + 31, 0.25 * y - 7) for x, y in stroke] for stroke in strokes]
    apart = (image_of(moved).float() - image_of(strokes).float()).abs()
    assert apart.mean() < 1
    assert image_of(strokes).sum() > 10_000


def test_a_dot_is_a_drawing() -> None:
    image = image_of(strokes_of("[[[5, 5]]]"))
    assert 0 < int((image > 100).sum()) < 6


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "no drawing yet"),
        ("", "no drawing yet"),
        ("[]", "no drawing yet"),
        ("[[]]", "no drawing yet"),
        ("{", "is not a drawing"),
        ('{"a": 1}', "is not a drawing"),
        ("[[1, 2]]", "is not a drawing"),
        ('[[["a", 2]]]', "is not a drawing"),
        ("[[[1, 2, 3]]]", "is not a drawing"),
        ("3", "is not a drawing"),
        ("[[[NaN, 2]]]", "not on the pad"),
        ("[[[1e300, 2]]]", "not on the pad"),
        ("[" * 100_000, "is not a drawing"),
        (json.dumps([[[1, 1]]] * 201), "201 strokes"),
        (json.dumps([[[1, 1]] * (MOST_POINTS + 1)]), "20,001 points"),
        (" " * 999_999 + "[[]]", "1,000,003 characters"),
    ],
)
def test_what_is_no_drawing_is_refused_in_a_sentence(given: object, said: str) -> None:
    with pytest.raises(PlayError, match=said):
        strokes_of(given)
