"""Evaluation: accuracies and the matrix, against numpy and by hand."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from metaplastic import Backprop, Delta, Episode, LearningRule, OnlineLearner, objective_for
from metaplastic.evaluate.evaluation import few_shot, over_lifetime
from metaplastic.evaluate.few_shot_report import FewShotReport
from metaplastic.evaluate.intervals import Kind
from metaplastic.evaluate.report import ContinualReport
from metaplastic.objective import CrossEntropy, MeanSquaredError
from metaplastic.support.seeding import seeded
from tests.helpers.recorder import Constants, Recorder
from tests.helpers.small_runs import Clusters, small_learner


def test_few_shot_accuracy_is_the_mean_over_episodes() -> None:
    stream = Clusters()
    learner = small_learner(stream)
    report = few_shot(learner, stream, episodes=30, seed=5, tasks_per_batch=7, minimum=30)
    by_hand = []
    learner.eval()
    for i in range(30):
        with torch.no_grad():
            result = learner(stream.sample(1, seeded(5, "lifetime", i)))
        by_hand.append(result.accuracy.item())
    assert report.accuracies == pytest.approx(np.array(by_hand))
    assert report.accuracy is not None
    assert report.accuracy.mean == pytest.approx(np.mean(by_hand))
    half = 1.959964 * np.std(by_hand, ddof=1) / np.sqrt(30)
    assert report.accuracy.high - report.accuracy.mean == pytest.approx(half)
    assert json.loads(json.dumps(report.to_dict()))["accuracy"]["kind"] == "normal"


def test_queries_about_nothing_that_was_learned_are_not_counted() -> None:
    """OML's remember set is for the meta-loss: it says nothing of what a lifetime taught."""

    class Remembering(Clusters):
        def __init__(self) -> None:
            super().__init__()
            self.spec = replace(self.spec, queries=24)

        def sample(self, tasks: int, generator: torch.Generator) -> Episode:
            episode = Clusters().sample(tasks, generator)
            more = torch.full_like(episode.query_y, self.spec.subtasks)
            return episode._replace(
                query_x=torch.cat([episode.query_x, 100 + episode.query_x], 1),
                query_y=torch.cat([episode.query_y, episode.query_y], 1),
                query_subtask=torch.cat([episode.query_subtask, more], 1),
            )

    learner = small_learner(Clusters())
    plain, remembering = (
        few_shot(learner, kind(), 12, minimum=1) for kind in (Clusters, Remembering)
    )
    np.testing.assert_allclose(plain.losses, remembering.losses, rtol=1e-5)
    np.testing.assert_array_equal(plain.accuracies, remembering.accuracies)


def test_the_episodes_do_not_depend_on_how_many_are_tried_at_once() -> None:
    stream = Clusters()
    learner = small_learner(stream)
    one = few_shot(learner, stream, 12, minimum=1, tasks_per_batch=1)
    five = few_shot(learner, stream, 12, minimum=1, tasks_per_batch=5)
    np.testing.assert_allclose(one.losses, five.losses, rtol=1e-5)


def test_fewer_than_500_episodes_need_an_explicit_minimum() -> None:
    stream = Clusters()
    with pytest.raises(ValueError, match="pass minimum=100"):
        few_shot(small_learner(stream), stream, episodes=100)


def test_evaluation_leaves_the_learner_and_the_caller_as_they_were() -> None:
    stream = Clusters()
    learner = small_learner(stream).train()
    before = {k: v.clone() for k, v in learner.state_dict().items()}
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    over_lifetime(learner, stream, lifetimes=2)
    assert torch.equal(torch.rand(1), expected)
    assert learner.training
    assert all(torch.equal(v, before[k]) for k, v in learner.state_dict().items())
    assert all(p.grad is None for p in learner.parameters())


def test_the_matrix_worked_by_hand() -> None:
    """After each third of the lifetime it answers 20, then 30, then 10, in squared error."""
    learner = Recorder(MeanSquaredError(1))
    report = over_lifetime(learner, Constants(), lifetimes=3, tasks_per_batch=2)  # type: ignore[arg-type]
    by_hand = np.array([[0, 100, 100], [100, 0, 400], [100, 400, 0]])  # subtasks 20, 30, 10
    np.testing.assert_allclose(report.matrix().mean, by_hand)
    np.testing.assert_allclose(report.initial_error, [[400, 900, 100]] * 3)
    np.testing.assert_allclose(report.on_seen().mean, [0, 50, 500 / 3])
    np.testing.assert_allclose(report.on_all().mean, [200 / 3, 500 / 3, 500 / 3])
    np.testing.assert_allclose(report.at_end().mean, [100, 400, 0])
    np.testing.assert_allclose(report.forgetting().mean, (100 + 400) / 2)
    assert report.examples.tolist() == [4, 8, 12]
    np.testing.assert_array_equal(report.seen[0], np.tril(np.ones((3, 3), dtype=bool)))


def test_the_report_as_json_and_csv_holds_the_same_numbers(tmp_path: Path) -> None:
    learner = Recorder(MeanSquaredError(1))
    report = over_lifetime(learner, Constants(), lifetimes=3)  # type: ignore[arg-type]
    report.to_json(tmp_path / "report.json")
    report.to_csv(tmp_path / "report.csv")
    matrix = report.matrix().mean
    loaded = json.loads((tmp_path / "report.json").read_text())
    assert loaded["error"]["matrix"]["mean"] == matrix.tolist()
    with (tmp_path / "report.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["error"]) for row in rows] == matrix.flatten().tolist()
    assert [row["examples"] for row in rows[::3]] == ["4", "8", "12"]


def test_accuracy_over_a_lifetime_ends_where_few_shot_ends() -> None:
    stream = Clusters()
    learner = small_learner(stream, rate=0.05)
    report = over_lifetime(learner, stream, lifetimes=10, seed=3, chunk=1)
    whole = few_shot(learner, stream, episodes=10, seed=3, minimum=10)
    assert report.accuracy is not None
    np.testing.assert_allclose(report.accuracy[:, -1].mean(-1), whole.accuracies, rtol=1e-5)
    np.testing.assert_allclose(report.error[:, -1].mean(-1), whole.losses, rtol=1e-4)


def test_a_lifetime_is_run_in_pieces_of_bounded_length() -> None:
    learner = Recorder(CrossEntropy(1))
    learner.objective = MeanSquaredError(1)
    over_lifetime(learner, Constants(), lifetimes=1, snapshots=1, chunk=4)  # type: ignore[arg-type]
    assert learner.longest == 4


def test_a_diverged_lifetime_counts_as_infinite_error_not_as_absent() -> None:
    stream = Clusters()
    learner = small_learner(stream, rate=1e20)
    report = over_lifetime(learner, stream, lifetimes=4)
    assert report.diverged == 4
    assert report.on_all().mean[-1] == np.inf
    assert json.loads(report.to_json())["error"]["on_all"]["mean"][-1] == "inf"
    assert few_shot(learner, stream, 4, minimum=4).diverged == 4


@pytest.mark.parametrize("kind", ["normal", "bootstrap"])
def test_a_report_with_infinite_errors_can_be_written(tmp_path: Path, kind: Kind) -> None:
    """Infinite in one lifetime only, at its end only, from the start; and then in all."""
    inf, source = np.inf, np.random.default_rng(0)
    for infinite in [(0,), (0, -1), (slice(None),), (0, slice(None), 1)]:
        error = source.random((3, 2, 2))
        error[infinite] = inf
        seen = np.array([[[True, False], [True, True]]] * 3)
        report = ContinualReport(
            error, error[:, 0], None, None, seen, np.array([4, 8]), 0, intervals=kind
        )
        loaded = json.loads(report.to_json(tmp_path / "report.json"))["error"]
        assert (tmp_path / "report.json").is_file()
        rows = list(csv.DictReader(report.to_csv(tmp_path / "report.csv").splitlines()))
        means = report.matrix().mean.flatten()
        assert np.isinf(means).any()
        assert [float(row["error"]) for row in rows] == means.tolist()
        flat = [float(mean) for row in loaded["matrix"]["mean"] for mean in row]
        assert flat == means.tolist()
    few = FewShotReport(np.array([1.0, inf]), None, 0).to_dict()
    assert json.loads(json.dumps(few, allow_nan=False))["loss"]["mean"] == "inf"


@pytest.mark.parametrize("snapshots", [0, 7])
def test_more_snapshots_than_steps_are_refused(snapshots: int) -> None:
    with pytest.raises(ValueError, match="Choose from 1 to 6"):
        over_lifetime(small_learner(Clusters()), Clusters(), 1, snapshots=snapshots)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"lifetimes": 0}, "lifetimes is 0; it must be at least 1"),
        ({"tasks_per_batch": 0}, "tasks_per_batch is 0; it must be at least 1"),
        ({"intervals": "bootstap"}, "intervals"),
    ],
)
def test_what_no_report_could_be_made_of_is_refused_at_once(
    wrong: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        over_lifetime(small_learner(Clusters()), Clusters(), **wrong)


def test_a_learner_with_no_state_halfway_is_only_evaluated_at_the_end() -> None:
    stream = Clusters()
    network = nn.Sequential(nn.Linear(4, 3))
    rule = LearningRule(Backprop(), Delta(rate=0.1))
    learner = OnlineLearner(network, rule, objective_for(stream.spec), passes=5)
    with pytest.raises(ValueError, match="Use snapshots=1"):
        over_lifetime(learner, stream, lifetimes=2)
    end = over_lifetime(learner, stream, lifetimes=4, snapshots=1)
    whole = few_shot(learner, stream, 4, minimum=4)
    np.testing.assert_allclose(end.error[:, -1].mean(-1), whole.losses, rtol=1e-5)


def test_regression_has_no_accuracy() -> None:
    report = over_lifetime(Recorder(MeanSquaredError(1)), Constants(), 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="use of='error'"):
        report.matrix("accuracy")


def test_subtasks_without_a_query_are_absent_not_perfect() -> None:
    error = np.array([[[1.0, np.nan]], [[3.0, np.nan]]])
    report = ContinualReport(
        error, error[:, 0], None, None, np.ones((2, 1, 2), dtype=bool), np.array([4]), 0
    )
    assert report.on_seen().mean == pytest.approx([2.0])
    assert json.loads(report.to_json())["error"]["matrix"]["mean"] == [[2.0, None]]
