"""Tables say what was measured, with intervals that are Student's."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from experiments.lab.figures.tables import (
    as_markdown,
    mean_and_interval,
    over_seeds,
    over_seen,
    rows,
)

REGRESSION = {
    "stream": "sines, incremental",
    "kind": "regression",
    "final": [0.25, 0.5],
    "steps": 10,
    "minutes": 1.5,
}


def test_the_interval_over_two_and_three_seeds_is_students() -> None:
    """Student's distribution has a closed form at one and two degrees of freedom."""
    for values, t in (
        ([0.1, 0.2], math.tan(0.95 * math.pi / 2)),
        ([0.1, 0.2, 0.4], 0.95 * math.sqrt(2 / (1 - 0.95**2))),
    ):
        mean, half = mean_and_interval(values)
        assert mean == pytest.approx(statistics.fmean(values))
        error = statistics.stdev(values) / math.sqrt(len(values))
        assert half == pytest.approx(t * error, rel=1e-9)


@pytest.mark.parametrize("runs", [*range(2, 32), 60])
def test_nineteen_in_twenty_of_students_values_lie_within_the_interval(runs: int) -> None:
    """By adding up the density (1 + t^2 / n)^(-(n + 1) / 2) under t = tan(angle)."""
    values = [float(value) for value in range(runs)]
    _, half = mean_and_interval(values)
    assert half is not None
    ratio = half / (statistics.stdev(values) / math.sqrt(runs))
    degrees = runs - 1
    angle = (np.arange(1_000_000) + 0.5) * (math.pi / 2 / 1_000_000)
    density = (1 + np.tan(angle) ** 2 / degrees) ** (-(degrees + 1) / 2) / np.cos(angle) ** 2
    inside = density[angle < math.atan(ratio)].sum() / density.sum()
    assert inside == pytest.approx(0.95, abs=1e-5)


def test_one_seed_has_no_interval() -> None:
    assert mean_and_interval([0.5]) == (0.5, None)


def test_a_diverged_run_makes_the_mean_infinite_and_the_interval_unknown() -> None:
    mean, half = mean_and_interval([1.0, math.inf])
    assert mean == math.inf
    assert half is not None
    assert math.isnan(half)


def test_a_table_shows_every_method_once_in_aligned_columns() -> None:
    results = {
        "flp": [{**REGRESSION, "score": 0.5}, {**REGRESSION, "score": 0.7}],
        "oml": [{**REGRESSION, "score": 1.0}],
        "glyphs": [{**REGRESSION, "kind": "classification", "score": 0.975}],
    }
    lines = as_markdown(rows(results)).splitlines()
    assert len(lines) == 5
    assert len({len(line) for line in lines}) == 1
    assert "0.6000 ± 1.2706" in lines[2]
    assert "97.50" in lines[4]
    header = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert header[:4] == ["stream", "method", "error", "first learned"]


def test_a_cell_counts_the_seeds_that_diverged_instead_of_averaging_them() -> None:
    runs = [{**REGRESSION, "score": score} for score in (1.0, math.inf, -math.inf)]
    (row,) = rows({"flp": runs})
    assert row["error"] == "2 of 3 diverged"
    assert row["last learned"] == "0.5000 ± 0.0000"


def test_what_is_not_defined_is_no_divergence() -> None:
    assert over_seeds([math.nan] * 3, "{:.1f}") == ""
    assert over_seeds([1.0, math.nan, 1.0], "{:.1f}") == "1.0 ± 0.0 (2 of 3)"
    assert over_seeds([math.nan, math.inf, 1.0], "{:.1f}") == "1 of 3 diverged"


def test_skipped_meta_steps_have_a_column_where_there_are_any() -> None:
    runs = [{**REGRESSION, "score": 1.0, "skipped": skipped} for skipped in (0, 3)]
    sound, unsound = rows({"oml": runs[:1], "flp": runs})
    assert "skipped" not in sound
    assert unsound["skipped"] == "3 of 20"
    header = as_markdown([sound, unsound]).partition("\n")[0]
    assert [cell.strip() for cell in header.split("|")][-5:-1] == [
        "meta-steps", "skipped", "minutes", "seeds",
    ]  # fmt: skip


def test_what_is_known_of_those_seen_so_far_is_averaged_over_seeds() -> None:
    runs = [
        {"kind": "classification", "seen": {"x": [1, 2], "y": [first, 0.5]}} for first in (0.8, 1.0)
    ]
    assert over_seen({"flp": runs, "maml": [{"kind": "classification"}]}) == [
        {"accuracy % over those seen, after": "flp", "1": "90.0", "2": "50.0"}
    ]


def test_of_many_moments_a_table_shows_some() -> None:
    runs = [{"kind": "regression", "seen": {"x": list(range(1, 51)), "y": [0.1] * 50}}]
    (row,) = over_seen({"flp": runs})
    assert list(row)[1:] == ["1", *map(str, range(5, 51, 5))]
