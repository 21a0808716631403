"""A report of a matrix from elsewhere, and arrays of which no report can be made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metaplastic import ContinualReport, report_from_matrix

PAPERS = np.array([[0.9, 0.2, 0.1], [0.8, 0.8, 0.1], [0.7, 0.5, 1.0]])


def test_a_square_matrix_is_one_subtask_after_the_other() -> None:
    report = report_from_matrix(PAPERS, initial=[0.1, 0.1, 0.1])
    assert report.on_seen("accuracy").mean == pytest.approx([0.9, 0.8, 2.2 / 3])
    assert report.forgetting("accuracy").mean == pytest.approx((0.2 + 0.3) / 2)
    assert report.backward_transfer("accuracy").mean == pytest.approx(-0.25)
    assert report.forward_transfer("accuracy").mean == pytest.approx((0.1 + 0.0) / 2)
    assert report.forgetting("error").mean == pytest.approx(0.25)


def test_lifetimes_have_intervals_and_errors_are_as_they_were_given() -> None:
    lifetimes = np.stack([PAPERS, PAPERS + 0.5, PAPERS + 1])
    report = report_from_matrix(lifetimes, of="error", intervals="bootstrap", examples=[5, 10, 15])
    assert report.accuracy is None
    assert report.on_seen().mean == pytest.approx([1.4, 1.3, 2.2 / 3 + 0.5])
    assert report.on_seen().low[0] < 1.4 < report.on_seen().high[0]
    assert np.isnan(report.forward_transfer().mean)  # no initial error was given
    assert report.to_csv().count("\n") == 1 + 9


def test_what_was_seen_can_be_said() -> None:
    seen = [[True, True, False], [True, True, True]]
    report = report_from_matrix(PAPERS[:2], seen=seen)
    assert report.on_seen("accuracy").mean == pytest.approx([0.55, 1.7 / 3])
    assert report.subtasks_seen.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"values": [0.5, 0.6]}, "needs axes snapshots, subtasks, or lifetimes"),
        ({"values": PAPERS[:2]}, "2 snapshots of 3 subtasks; give seen"),
        ({"values": 100 * PAPERS}, "Accuracies go from 10 to 100; give shares from 0 to 1"),
        ({"values": PAPERS, "seen": np.tri(2)}, r"seen has shape \(1, 2, 2\); for errors of shape"),
        ({"values": PAPERS, "seen": np.tri(3).T}, "True from the first snapshot"),
        ({"values": PAPERS, "initial": [0.1]}, r"initial_error has shape \(1, 1\)"),
        ({"values": PAPERS, "examples": [1, 2]}, r"examples has shape \(2,\)"),
        ({"values": PAPERS, "of": "acuracy"}, "acuracy"),
        ({"values": np.zeros((0, 3, 3)), "of": "error"}, "none of them empty"),
    ],
)
def test_what_is_no_matrix_of_a_stream_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        report_from_matrix(**given)


def test_a_report_of_arrays_that_do_not_fit_is_refused() -> None:
    error, seen, examples = PAPERS[None], np.tri(3, dtype=bool)[None], np.arange(3)
    with pytest.raises(ValueError, match="For a matrix measured elsewhere use report_from_matrix"):
        ContinualReport(PAPERS, error[:, 0], None, None, seen, examples, 0)
    with pytest.raises(ValueError, match="give both or neither"):
        ContinualReport(error, error[:, 0], error, None, seen, examples, 0)
    with pytest.raises(ValueError, match=r"accuracy has shape \(2, 3, 3\)"):
        ContinualReport(error, error[:, 0], error.repeat(2, 0), error[:, 0], seen, examples, 0)
