"""Pass lines of training checks: values, bounds, and verdicts over seeds."""

from __future__ import annotations

import math

import pytest

from experiments.lab.credit_checks import lines
from experiments.lab.credit_checks.lines import Line, judged


def test_a_line_is_met_where_the_mean_over_seeds_meets_it() -> None:
    found = {"a": [{"accuracy": 79.0}, {"accuracy": 83.0}]}
    (verdict,) = judged([Line("", lines.accuracy("a"), ">=", 80)], found, reduced=False)
    assert (verdict.met, verdict.seeds_met, verdict.mean) == (True, 1, 81)
    (verdict,) = judged([Line("", lines.accuracy("a"), ">=", 82)], found, reduced=False)
    assert not verdict.met


@pytest.mark.parametrize("relation", ["<", ">", "<=", ">="])
def test_what_is_not_a_number_meets_no_line(relation: lines.Relation) -> None:
    found = {"a": [{"ratio": [1.0, math.nan], "accuracy": 1.0}]}
    for value in (lines.largest, lines.smallest):
        line = Line("", value("a", "ratio"), relation, 5)
        assert not judged([line], found, reduced=False)[0].met


def test_an_infinite_ratio_is_above_any_bound_and_below_none() -> None:
    found = {"a": [{"ratio": [math.inf]}]}
    above = Line("", lines.smallest("a", "ratio"), ">", 5)
    below = Line("", lines.largest("a", "ratio"), "<", 5)
    assert [v.met for v in judged([above, below], found, reduced=False)] == [True, False]


def test_a_reduced_run_is_held_to_loose_bounds_and_to_no_others() -> None:
    asked = [
        Line("a", lines.accuracy("a"), ">=", 80, 40),
        Line("b", lines.accuracy("a"), ">=", 80),
    ]
    (only,) = judged(asked, {"a": [{"accuracy": 50.0}]}, reduced=True)
    assert (only.line.text, only.met) == ("a", True)


def test_values_of_lines_are_what_they_say() -> None:
    runs = {
        "a": {"accuracy": 60.0, "delta": [1.0, 5.0, 3.0], "curve": [9.0, 4.0, 4.5]},
        "b": {"accuracy": 70.0, "delta": [2.0, 2.0, 2.0], "error": {"10": 0.5}},
    }
    assert lines.lead("b", "a")(runs) == 10
    assert (lines.largest("a", "delta")(runs), lines.smallest("a", "delta")(runs)) == (5, 1)
    assert (lines.mean("a", "delta")(runs), lines.top("a", "delta")(runs)) == (3, 3)
    assert lines.rise("a", "curve")(runs) == 0.5
    assert lines.below(lines.mean("b", "delta"), lines.mean("a", "delta"))(runs) == 1
    assert lines.at("b", "error", 10)(runs) == 0.5
