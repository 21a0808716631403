"""Drawn characters are many, distinct, legible and the same on every run."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.glyphs import Glyphs, draw, render


def test_every_image_has_ink_and_paper_and_fills_the_range() -> None:
    images = draw("validation", 0)
    assert images.shape == (200, 20, 28, 28)
    ink = (images > 127).float().mean((2, 3))
    assert ink.min() > 0.01
    assert ink.max() < 0.5
    assert (images.amax((2, 3)) > 200).float().mean() > 0.99
    assert (images[..., [0, 27], :] < 128).float().mean() > 0.99


def test_images_of_a_class_differ_but_less_than_images_of_two_classes() -> None:
    x = draw("validation", 0).flatten(2).float() / 255
    within = (x[:, 0] - x[:, 1]).norm(dim=-1)
    between = (x[:, 0] - x.roll(1, 0)[:, 1]).norm(dim=-1)
    assert within.min() > 1
    assert within.mean() < 0.95 * between.mean()


def test_raw_pixels_know_the_class_as_often_as_on_omniglot() -> None:
    episode = Glyphs(split="test").sample(100, torch.Generator().manual_seed(0))
    label = F.one_hot(episode.support_y.squeeze(-1)).float()  # tasks examples ways
    means = label.mT @ episode.support_x.flatten(2) / 5
    nearest = torch.cdist(episode.query_x.flatten(2), means).argmin(-1)
    accuracy = (nearest == episode.query_y).float().mean()
    assert 0.65 < accuracy < 0.77  # Omniglot: 0.70


def test_splits_and_seeds_draw_different_characters_and_one_seed_the_same() -> None:
    first = draw("validation", 0)
    assert torch.equal(first, draw.__wrapped__("validation", 0))
    others: list[Tensor] = [draw("validation", 1), draw("test", 0)[:200]]
    assert all((first != other).flatten(2).any(-1).all() for other in others)


def test_a_straight_stroke_is_drawn_where_it_lies() -> None:
    line = torch.stack([torch.linspace(5, 20, 48), torch.full((48,), 10.0)], -1)[None, None]
    (image,) = render(line, torch.ones(1, 1, dtype=torch.bool), torch.zeros(1))
    row, column = (image > 200).nonzero(as_tuple=True)
    assert set(row.tolist()) == {10}
    assert set(column.tolist()) == set(range(6, 20))
    assert render(line, torch.zeros(1, 1, dtype=torch.bool), torch.zeros(1)).sum() == 0
