"""What is said of updates and of features, on vectors and codes that one can draw and count."""

from __future__ import annotations

import math

import pytest
import torch

from metaplastic.evaluate.geometry import angles, cosines, effective_rank, overlaps
from metaplastic.evaluate.selectivity import feature_statistics, statistics_over_lifetimes


def test_the_geometry_of_vectors_one_can_draw() -> None:
    updates = torch.tensor([[[1.0, 0, 0], [0, 2.0, 0], [3.0, 3.0, 0], [0, 0, 0]]]).double()
    assert cosines(updates)[0, 0, :3].tolist() == pytest.approx([1, 0, math.sqrt(0.5)])
    assert overlaps(updates)[0, 0, :3].tolist() == [1, 0, 0.5]
    turned = angles(updates, updates.roll(1, 2))[0, :3].tolist()
    assert turned == pytest.approx([90, 90, 60])
    tiny = torch.tensor([[[1.0, 1e-9]]]).double()
    degrees = angles(tiny, torch.tensor([[[1.0, 0.0]]]).double())
    assert float(degrees) == pytest.approx(math.degrees(1e-9))
    assert float(effective_rank(torch.eye(4))) == pytest.approx(4)
    assert effective_rank(torch.full((2, 3, 3), torch.inf)).isnan().all()
    for size in (1e-30, 1e20):
        assert float(effective_rank(size * torch.eye(4))) == pytest.approx(4)
    assert float(effective_rank(torch.outer(torch.arange(3.0), torch.ones(5)))) == pytest.approx(1)


def test_feature_statistics_of_codes_one_can_count() -> None:
    one_hot = torch.tensor([[1.0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]])
    found = feature_statistics(one_hot, torch.tensor([0, 0, 1, 1]))
    assert found.to_dict() == pytest.approx(
        {"active": 0.25, "dead": 0.5, "sparseness": 1.0, "selectivity": 1.0}
    )
    alike = feature_statistics(torch.ones(4, 3), torch.tensor([0, 1, 2, 0]))
    assert alike.to_dict() == pytest.approx(
        {"active": 1.0, "dead": 0.0, "sparseness": 0.0, "selectivity": 0.0}
    )
    alone = feature_statistics(one_hot, torch.zeros(4))
    assert (alone.active, alone.dead, alone.sparseness) == (0.25, 0.5, 1.0)
    assert math.isnan(alone.selectivity)  # there is no other class to compare with
    broken = feature_statistics(one_hot * math.nan, torch.tensor([0, 0, 1, 1]))
    assert all(math.isnan(value) for value in broken.to_dict().values())
    for features, classes in ((one_hot, torch.zeros(3)), (one_hot[:0], torch.zeros(0))):
        with pytest.raises(ValueError, match="at least one example, and one class for each"):
            feature_statistics(features, classes)


def test_units_are_selective_within_a_lifetime() -> None:
    """Two lifetimes whose classes have other numbers: pooled, no unit would speak for one class."""
    codes = [torch.eye(4).repeat(3, 1), torch.eye(4).roll(1, 0).repeat(3, 1)]
    found = statistics_over_lifetimes(codes, [torch.arange(4).repeat(3)] * 2)
    assert found.to_dict() == pytest.approx(
        {"active": 0.25, "dead": 0.0, "sparseness": 1.0, "selectivity": 1.0}
    )
    assert feature_statistics(torch.cat(codes), torch.arange(4).repeat(6)).selectivity < 0.7
