"""The weight mirror in one sleeping step of many rows of noise."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from metaplastic import LearningRule, PlasticModule, RandomFeedback
from metaplastic.alignment import MirrorAlignment, Sleep
from metaplastic.plasticity import Delta

NETWORKS = {
    "dense": (lambda: nn.Sequential(nn.Linear(20, 50), nn.ReLU(), nn.Linear(50, 8)), (20,)),
    "convolution": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 7, 3), nn.Flatten(), nn.Linear(28, 4)
        ),
        (2, 6, 6),
    ),
}  # fmt: skip
INPUTS = {"dense": {"2": 50}, "convolution": {"2": 54, "4": 28}}  # of a unit


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("rows", [200, 3000])
def test_the_angle_after_one_step_is_that_of_so_many_rows(kind: str, rows: int) -> None:
    make, shape = NETWORKS[kind]
    torch.manual_seed(0)
    asleep = MirrorAlignment(rate=1.0, decay=1.0, rows=rows)
    rule = LearningRule(RandomFeedback(), Delta(rate=0.0), Sleep(asleep=asleep, at_start=1))
    net = PlasticModule(make(), rule, example=torch.randn(1, *shape))
    net(torch.randn(1, *shape))
    net.learn(torch.tensor([0]))
    for site, inputs in INPUTS[kind].items():
        weight = net.credit.weight(site, net.model).detach().flatten()
        feedback = net.credit.feedback(site).flatten()
        angle = math.degrees(math.acos(torch.cosine_similarity(weight, feedback, 0)))
        # Patches of a convolution share noise, and a few more rows than requested are taken.
        expected = math.degrees(math.atan(math.sqrt(inputs / rows)))
        assert 0.6 * expected < angle < 1.3 * expected, (site, angle, expected)


def test_examples_and_rows_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="examples is 4 and rows is 5"):
        MirrorAlignment(examples=4, rows=5)
