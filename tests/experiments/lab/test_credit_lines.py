"""Pass lines of training checks: values, bounds, and verdicts over seeds."""

from __future__ import annotations

import math

import pytest

from experiments.lab.credit_checks import pass_lines
from experiments.lab.credit_checks.pass_lines import Line, verdicts_on


def test_a_line_is_met_where_the_mean_over_seeds_meets_it() -> None:
    found = {"a": [{"accuracy": 79.0}, {"accuracy": 83.0}]}
    (verdict,) = verdicts_on([Line("", pass_lines.accuracy("a"), ">=", 80)], found, reduced=False)
    assert (verdict.met, verdict.seeds_met, verdict.mean) == (True, 1, 81)
    (verdict,) = verdicts_on([Line("", pass_lines.accuracy("a"), ">=", 82)], found, reduced=False)
    assert not verdict.met


@pytest.mark.parametrize("relation", ["<", ">", "<=", ">="])
def test_what_is_not_a_number_meets_no_line(relation: pass_lines.Relation) -> None:
    found = {"a": [{"ratio": [1.0, math.nan], "accuracy": 1.0}]}
    for value in (pass_lines.largest, pass_lines.smallest):
        line = Line("", value("a", "ratio"), relation, 5)
        assert not verdicts_on([line], found, reduced=False)[0].met


def test_an_infinite_ratio_is_above_any_bound_and_below_none() -> None:
    found = {"a": [{"ratio": [math.inf]}]}
    above = Line("", pass_lines.smallest("a", "ratio"), ">", 5)
    below = Line("", pass_lines.largest("a", "ratio"), "<", 5)
    assert [v.met for v in verdicts_on([above, below], found, reduced=False)] == [True, False]


def test_a_reduced_run_is_held_to_loose_bounds_and_to_no_others() -> None:
    lines = [
        Line("a", pass_lines.accuracy("a"), ">=", 80, 40),
        Line("b", pass_lines.accuracy("a"), ">=", 80),
    ]
    (only,) = verdicts_on(lines, {"a": [{"accuracy": 50.0}]}, reduced=True)
    assert (only.line.text, only.met) == ("a", True)


def test_values_of_lines_are_what_they_say() -> None:
    runs = {
        "a": {"accuracy": 60.0, "delta": [1.0, 5.0, 3.0], "curve": [9.0, 4.0, 4.5]},
        "b": {"accuracy": 70.0, "delta": [2.0, 2.0, 2.0], "error": {"10": 0.5}},
    }
    assert pass_lines.lead("b", "a")(runs) == 10
    assert (pass_lines.largest("a", "delta")(runs), pass_lines.smallest("a", "delta")(runs)) == (
        5,
        1,
    )
    assert (pass_lines.mean("a", "delta")(runs), pass_lines.top("a", "delta")(runs)) == (3, 3)
    assert pass_lines.rise("a", "curve")(runs) == 0.5
    assert pass_lines.below(pass_lines.mean("b", "delta"), pass_lines.mean("a", "delta"))(runs) == 1
    assert pass_lines.at("b", "error", 10)(runs) == 0.5
