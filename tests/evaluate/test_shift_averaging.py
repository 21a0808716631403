"""Shift averaging: the mean over shifted images at test, and nothing else is different."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metaplastic import CrossEntropy, Direct, LearningRule, Oja, OnlineLearner
from metaplastic.evaluate.shift_averaging import ShiftAveraged, with_shift_averaging
from metaplastic.files.rule_file import from_pretrained, save_pretrained
from metaplastic.stacked.readouts import CosineReadout, Gain, UnitLength
from tests.helpers.lifetimes import dense, episodes


def made(nested: bool = False) -> OnlineLearner:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten())
    head = [nn.Linear(72, 6), UnitLength(), CosineReadout(6, 3), Gain(4.0)]
    network = nn.Sequential(body, *head) if nested else nn.Sequential(*body, *head)
    rule = LearningRule(Direct(), Oja(rate=0.1, per="feature"))
    return OnlineLearner(network, rule, CrossEntropy(3), plastic=1)


def test_a_code_is_the_mean_over_the_image_and_its_eight_neighbors() -> None:
    seen = nn.Sequential(nn.Flatten(), nn.Linear(25, 4), nn.Tanh())
    averaged, x = ShiftAveraged(seen).eval(), torch.randn(3, 1, 5, 5)
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    codes = [
        seen(padded[..., down : down + 5, right : right + 5])
        for down in range(3)
        for right in range(3)
    ]
    assert torch.allclose(averaged(x), torch.stack(codes).mean(0), atol=1e-6)
    assert torch.equal(averaged.train()(x), seen(x))


@pytest.mark.parametrize("nested", [False, True])
def test_in_training_it_is_the_same_learner(nested: bool) -> None:
    one = made(nested)
    one.rule.rate_scale = 0.5
    many, episode = (
        with_shift_averaging(one, 2),
        episodes(outputs=3, shape=(1, 5, 5), batch=1).to("cpu"),
    )
    episode = episode.to("cpu", torch.float32)
    assert torch.allclose(one(episode).prediction, many(episode).prediction, atol=1e-6)
    assert not torch.allclose(one.eval()(episode).prediction, many.eval()(episode).prediction)
    assert sum(p.numel() for p in one.parameters()) == sum(p.numel() for p in many.parameters())


def test_images_that_are_the_same_everywhere_are_seen_the_same_way() -> None:
    one = made().eval()
    flat = torch.full((2, 1, 5, 5), 0.7)
    assert torch.allclose(one.encode(flat), with_shift_averaging(one).encode(flat), atol=1e-6)


def test_what_is_encoded_still_has_length_one() -> None:
    many = with_shift_averaging(made()).eval()
    code = many.encode(torch.randn(4, 1, 5, 5))
    assert torch.allclose(code.norm(dim=-1), torch.ones(4), atol=1e-6)


def test_it_can_be_written_and_read(tmp_path: object) -> None:
    many = with_shift_averaging(made()).eval()
    loaded = from_pretrained(save_pretrained(many, f"{tmp_path}/rule"))
    episode = episodes(outputs=3, shape=(1, 5, 5), batch=1, dtype=torch.float32)
    assert torch.equal(many(episode).prediction, loaded(episode).prediction)


def test_shift_averaging_needs_an_encoder() -> None:
    all_plastic = OnlineLearner(
        dense(3, 4, 2), LearningRule(Direct(), Oja(rate=0.1)), CrossEntropy(2)
    )
    with pytest.raises(ValueError, match="Every layer of this network is plastic"):
        with_shift_averaging(all_plastic)
    with pytest.raises(ValueError, match="at least 1 pixel"):
        ShiftAveraged(nn.Sequential(nn.Flatten()), 0)
