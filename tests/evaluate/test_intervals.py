"""Intervals: against the textbook, and against the truth."""

from __future__ import annotations

import numpy as np
import pytest

from metaplastic.evaluate.intervals import Array, Kind, interval


def test_the_normal_interval_is_the_mean_and_196_standard_errors() -> None:
    values = np.random.default_rng(0).normal(size=(50, 3))
    found = interval(values)
    half = 1.959964 * values.std(0, ddof=1) / np.sqrt(50)
    np.testing.assert_allclose(found.mean, values.mean(0))
    np.testing.assert_allclose(found.high - found.mean, half, rtol=1e-6)
    np.testing.assert_allclose(found.mean - found.low, half, rtol=1e-6)


@pytest.mark.parametrize("kind", ["normal", "bootstrap"])
def test_ninety_five_of_a_hundred_intervals_hold_the_truth(kind: Kind) -> None:
    source = np.random.default_rng(0)
    samples = source.exponential(size=(60, 400))  # 400 experiments of 60 values, true mean 1
    found = interval(samples, kind)
    held = ((found.low <= 1) & (found.high >= 1)).mean()
    assert 0.90 <= held <= 0.98


def test_the_intervals_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats", reason="the lab extra is not installed")
    values = np.random.default_rng(0).normal(size=(40, 3))
    normal = stats.norm.interval(0.95, loc=values.mean(0), scale=stats.sem(values))
    found = interval(values)
    np.testing.assert_allclose([found.low, found.high], normal, rtol=1e-12)
    source = np.random.default_rng(1)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", rng=source, n_resamples=2000)
    found = interval(values, "bootstrap")
    # Two samples of 2000 resamples: their ends differ by a twentieth of the intervals' width.
    width = found.high - found.low
    np.testing.assert_allclose(found.low, theirs.confidence_interval.low, atol=0.05 * width.max())
    np.testing.assert_allclose(found.high, theirs.confidence_interval.high, atol=0.05 * width.max())


def test_one_value_has_no_interval() -> None:
    found = interval(np.array([3.0]))
    assert found.mean == 3.0
    assert np.isnan(found.low)


@pytest.mark.parametrize("kind", ["normal", "bootstrap"])
def test_an_interval_counts_the_values_that_are_known(kind: Kind) -> None:
    nan = np.nan
    values = np.array([[1.0, 1.0, 4.0, nan], [2.0, nan, nan, nan], [4.0, 3.0, nan, nan]])
    assert interval(values[:, :2], kind).count == 2
    assert interval(values[:, 1], kind).count == 2
    assert interval(values[:, 3], kind).count == 0
    found = interval(values, kind)
    assert found.count == 1
    np.testing.assert_array_equal(np.isnan(found.mean), [False, False, False, True])
    np.testing.assert_array_equal(np.isnan(found.low), [False, False, True, True])


@pytest.mark.parametrize("shape", [(), (3,), (30, 70)])
def test_the_bootstrap_resamples_lifetimes_whole(shape: tuple[int, ...]) -> None:
    """Sorted means of 2000 draws with replacement, one after the other; also of many columns."""
    source = np.random.default_rng(1)
    values = source.normal(size=(9, *shape))
    values[source.random(values.shape) < 0.2] = np.nan
    found = interval(values, "bootstrap", seed=4)
    picks = np.random.default_rng(4).integers(9, size=(2000, 9))
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):  # a draw of none that is known sorts last
        draws = [np.nansum(values[pick], axis=0) / known[pick].sum(0) for pick in picks]
    means = np.sort(np.stack(draws).reshape(2000, -1), axis=0)
    for low, high, column in zip(found.low.flat, found.high.flat, means.T, strict=True):
        some = column[~np.isnan(column)]  # a draw of nothing that is known says nothing
        low_place, high_place = (round(part * (len(some) - 1)) for part in (0.025, 0.975))
        assert low == pytest.approx(some[low_place], abs=1e-12)
        assert high == pytest.approx(some[high_place], abs=1e-12)


def test_a_column_of_which_little_is_known_has_an_interval_too() -> None:
    values = np.full((10, 1), np.nan)
    values[[2, 7]] = [[-1.0], [3.0]]
    found = interval(values, "bootstrap")
    assert (found.low[0], found.mean[0], found.high[0]) == (-1, 1, 3)


@pytest.mark.parametrize("values", [np.zeros((0, 3)), np.array(1.0)])
def test_a_mean_of_nothing_is_refused(values: Array) -> None:
    with pytest.raises(ValueError, match="needs at least one lifetime"):
        interval(values)
