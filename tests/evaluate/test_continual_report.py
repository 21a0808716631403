"""The measures of continual learning, against matrices worked out by hand and plain loops."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from metaplastic.evaluate import continual_measures as measures
from metaplastic.evaluate.intervals import Array, Kind
from metaplastic.evaluate.report import ContinualReport

NAN, INF = np.nan, np.inf


def made(
    error: Array, initial: Array, seen: Array, *, accuracy: bool = False, kind: Kind = "normal"
) -> ContinualReport:
    """Of one lifetime's matrix, or several; as accuracies the same numbers."""
    error, initial, seen = (np.array(a, dtype=float) for a in (error, initial, seen))
    if error.ndim == 2:
        error, initial, seen = error[None], initial[None], seen[None]
    examples = 10 * np.arange(1, error.shape[1] + 1)
    own = (error, initial) if accuracy else (None, None)
    return ContinualReport(error, initial, *own, seen.astype(bool), examples, 0, intervals=kind)


# Three tasks, one after the other, as in the papers: accuracies, snapshots x subtasks.
PAPERS = {
    "error": [[0.90, 0.3, 0.2],
              [0.95, 0.8, 0.5],
              [0.70, 0.5, 1.0]],
    "initial": [0.1, 0.2, 0.3],
    "seen": np.tril(np.ones((3, 3))),
    "accuracy": True,
}  # fmt: skip

# Errors. Two subtasks are met before the first snapshot, two before the second, one before the
# third, and the last one never.
COARSE = {
    "error": [[1, 2, 8, 9, 7, 6],
              [3, 1, 2, 4, 5, 6],
              [2, 4, 2, 2, 3, 6]],
    "initial": [10] * 6,
    "seen": [[1, 1, 0, 0, 0, 0],
             [1, 1, 1, 1, 0, 0],
             [1, 1, 1, 1, 1, 0]],
}  # fmt: skip

# Errors. Three lifetimes that meet the first and third subtask, then the second, then the fourth;
# nothing asks for the third, and the second is always lost. The first subtask is known throughout;
# lost at the end; lost at first.
BROKEN = {
    "error": [[[1, INF, NAN, 4], [5, INF, NAN, INF], [3, INF, NAN, 2]],
              [[1, INF, NAN, 4], [5, INF, NAN, 6], [INF, INF, NAN, 2]],
              [[INF, INF, NAN, 4], [5, INF, NAN, 6], [3, INF, NAN, 2]]],
    "initial": [[6, 6, NAN, 8]] * 3,
    "seen": [[[1, 0, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]]] * 3,
}  # fmt: skip


def test_three_tasks_one_after_the_other() -> None:
    report, of = made(**PAPERS), "accuracy"
    np.testing.assert_allclose(report.on_seen(of).mean, [0.9, 1.75 / 2, 2.2 / 3])
    assert report.average_over_time(of).mean == pytest.approx((0.9 + 0.875 + 2.2 / 3) / 3)
    assert report.forgetting(of).mean == pytest.approx(((0.9 - 0.7) + (0.8 - 0.5)) / 2)
    assert report.forgetting(of, "best").mean == pytest.approx(((0.95 - 0.7) + (0.8 - 0.5)) / 2)
    assert report.backward_transfer(of).mean == pytest.approx(-0.25)
    assert report.forward_transfer(of).mean == pytest.approx(((0.3 - 0.2) + (0.5 - 0.3)) / 2)
    assert report.subtasks_seen.tolist() == [1, 2, 3]


def test_several_subtasks_between_two_snapshots_and_one_that_is_never_met() -> None:
    report = made(**COARSE)
    np.testing.assert_allclose(report.on_seen().mean, [1.5, 10 / 4, 13 / 5])
    np.testing.assert_allclose(report.on_all().mean, [33 / 6, 21 / 6, 19 / 6])
    assert report.average_over_time().mean == pytest.approx(6.6 / 3)
    assert report.forgetting().mean == pytest.approx((1 + 2 + 0 - 2) / 4)
    assert report.forgetting(against="best").mean == pytest.approx((1 + 3 + 0 - 2) / 4)
    assert report.backward_transfer().mean == pytest.approx(-0.25)
    assert report.forward_transfer().mean == pytest.approx((2 + 1 + 5) / 3)
    assert report.subtasks_seen.tolist() == [2, 4, 5]


def test_errors_that_are_infinite_and_subtasks_that_nothing_asks_for() -> None:
    """What was ever infinite is as bad as can be, before or after: it is not left out, unseen."""
    report = made(**BROKEN)
    good, initial, seen = -report.error, -report.initial_error, report.seen
    np.testing.assert_array_equal(measures.mean_where(report.error, seen)[0], [1, INF, INF])
    np.testing.assert_array_equal(measures.average_over_time(report.error, seen), [INF] * 3)
    np.testing.assert_array_equal(measures.forgetting_since_first(good, seen), [INF] * 3)
    np.testing.assert_array_equal(measures.forgetting_since_best(good, seen), [INF] * 3)
    np.testing.assert_array_equal(measures.backward_transfer(good, seen), [-INF] * 3)
    np.testing.assert_array_equal(measures.forward_transfer(good, initial, seen), [-INF] * 3)
    assert report.diverged == 3
    found = json.loads(report.to_json())["error"]
    assert found["forgetting_from_best"] == {
        "mean": "inf", "low": None, "high": None, "kind": "normal", "count": 3,
    }  # fmt: skip
    assert found["forgetting"]["mean"] == "inf"
    assert found["backward_transfer"]["mean"] == "-inf"
    assert found["forward_transfer"]["mean"] == "-inf"


def test_a_subtask_that_is_evaluated_only_now_and_then() -> None:
    """NaN at the best moment, at the first, at the last: the others are what is known."""
    report = made([[NAN, 3, 2], [4, 1, 5], [5, NAN, 3], [6, 2, NAN]], [9, 9, 9], np.ones((4, 3)))
    assert report.forgetting().mean == pytest.approx(2 - 3)
    assert report.forgetting(against="best").mean == pytest.approx(((6 - 4) + (2 - 1)) / 2)
    np.testing.assert_allclose(report.on_seen().mean, [2.5, 10 / 3, 4, 4])
    assert report.average_over_time().mean == pytest.approx((2.5 + 10 / 3 + 4 + 4) / 4)


def test_one_snapshot_knows_of_no_forgetting_and_no_transfer() -> None:
    report = made([[1, 2]], [3, 3], [[1, 1]])
    for found in (
        report.forgetting(), report.forgetting(against="best"), report.backward_transfer(),
        report.forward_transfer(),
    ):  # fmt: skip
        assert np.isnan(found.mean)
        assert found.count == 0
    assert report.average_over_time().mean == 1.5


def test_the_measures_are_the_formulas_of_the_papers() -> None:
    """Loops over R[i][j], the accuracy on task j after task i, as GEM and Chaudhry et al. write."""
    source = np.random.default_rng(0)
    tasks = 7
    seen = np.tril(np.ones((1, tasks, tasks), dtype=bool))
    for _ in range(5):
        r, b = source.random((1, tasks, tasks)), source.random((1, tasks))
        last, earlier = tasks - 1, range(tasks - 1)
        bwt = sum(r[0, last, i] - r[0, i, i] for i in earlier) / (tasks - 1)
        fwt = sum(r[0, i - 1, i] - b[0, i] for i in range(1, tasks)) / (tasks - 1)
        f = [max(r[0, k, j] for k in range(j, last)) - r[0, last, j] for j in earlier]
        average = sum(sum(r[0, i, : i + 1]) / (i + 1) for i in range(tasks)) / tasks
        assert measures.backward_transfer(r, seen) == pytest.approx(bwt)
        assert measures.forward_transfer(r, b, seen) == pytest.approx(fwt)
        assert measures.forgetting_since_best(r, seen) == pytest.approx(sum(f) / (tasks - 1))
        assert measures.forgetting_since_first(r, seen) == pytest.approx(-bwt)
        assert measures.average_over_time(r, seen) == pytest.approx(average)


def test_good_is_positive_of_errors_and_of_accuracies() -> None:
    """An error that is one minus the accuracy forgets and transfers as much, with the same sign."""
    right = made(**PAPERS)
    wrong = replace(right, error=1 - right.error, initial_error=1 - right.initial_error)
    for name in ("forgetting", "backward_transfer", "forward_transfer"):
        of_error, of_accuracy = (getattr(wrong, name)(of).mean for of in ("error", "accuracy"))
        assert of_error == pytest.approx(of_accuracy)
    for best in (wrong.forgetting("error", "best"), wrong.forgetting("accuracy", "best")):
        assert best.mean == pytest.approx(0.275)


def test_intervals_are_over_lifetimes_and_of_the_kind_that_was_chosen() -> None:
    source = np.random.default_rng(0)
    error, initial = source.random((12, 3, 3)), source.random((12, 3))
    seen = np.tril(np.ones((12, 3, 3)))
    normal = made(error, initial, seen).forward_transfer()
    each = (initial[:, 1:] - np.stack([error[:, 0, 1], error[:, 1, 2]], 1)).mean(1)
    assert normal.mean == pytest.approx(each.mean())
    half = 1.959964 * each.std(ddof=1) / np.sqrt(12)
    assert normal.high - normal.low == pytest.approx(2 * half)
    drawn = made(error, initial, seen, kind="bootstrap").forward_transfer()
    assert (drawn.kind, drawn.count) == ("bootstrap", 12)
    assert drawn.high - drawn.low == pytest.approx(2 * half, rel=0.2)


def test_what_was_taught_is_a_report_beside_that_of_the_queries() -> None:
    test, taught = made(**PAPERS), made(**PAPERS)
    taught = replace(taught, error=taught.error / 2)
    plain, both = test.to_dict(), replace(test, trajectory=taught).to_dict()
    assert "trajectory" not in plain
    assert both.pop("trajectory") == {
        "diverged": 0, "error": taught.to_dict()["error"], "accuracy": plain["accuracy"],
    }  # fmt: skip
    assert both == plain
    rows = list(csv.DictReader(replace(test, trajectory=taught).to_csv().splitlines()))
    assert "trajectory_error" not in next(csv.DictReader(test.to_csv().splitlines()))
    for kind in ("", "_low", "_high"):
        assert f"trajectory_accuracy{kind}" in rows[0]
    halves = [float(row["error"]) / 2 for row in rows]
    assert [float(row["trajectory_error"]) for row in rows] == halves
    with pytest.raises(ValueError, match=r"errors have shape \(1, 3, 3\), .*\(1, 3, 6\)"):
        replace(made(**COARSE), trajectory=taught)


def test_everything_that_is_measured_is_written() -> None:
    found = json.loads(made(**PAPERS).to_json())
    assert found["subtasks_seen"] == [1, 2, 3]
    for of in ("error", "accuracy"):
        assert list(found[of]) == [
            "initial", "on_seen", "on_all", "at_end", "average_over_time", "forgetting",
            "forgetting_from_best", "backward_transfer", "forward_transfer", "matrix",
        ]  # fmt: skip
    assert found["accuracy"]["forgetting"]["mean"] == pytest.approx(0.25)
    assert found["accuracy"]["forgetting_from_best"]["mean"] == pytest.approx(0.275)


def test_subtasks_seen_is_the_mean_over_lifetimes() -> None:
    seen = np.array([[[1, 0, 0], [1, 1, 1]], [[1, 1, 0], [1, 1, 1]]])
    report = made(np.zeros((2, 2, 3)), np.zeros((2, 3)), seen)
    assert report.subtasks_seen.tolist() == [1.5, 3]
    assert all(a < b for a, b in pairwise(report.subtasks_seen))


def test_a_misspelled_choice_is_refused() -> None:
    report = made(**PAPERS)
    with pytest.raises(ValueError, match="Did you mean 'best'"):
        report.forgetting(against="bets")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Did you mean 'accuracy'"):
        report.on_seen("acuracy")  # type: ignore[arg-type]
