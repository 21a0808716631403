"""Evaluation within a lifetime: when, on what, and that nothing of it is done twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metaplastic import Direct, Hebb, Initialization, LearningRule, OnlineLearner, objective_for
from metaplastic.evaluate import lifetime_evaluation as module
from metaplastic.evaluate.evaluation import over_lifetime
from metaplastic.evaluate.report import ContinualReport
from metaplastic.objective import MeanSquaredError
from metaplastic.support.seeding import seeded
from tests.helpers.recorder import Constants, Recorder
from tests.helpers.small_runs import Clusters, small_learner


class Shuffled(Clusters):
    """The clusters in any order."""

    def sample(self, tasks: int, generator: torch.Generator) -> module.Episode:
        episode = super().sample(tasks, generator)
        order = torch.randperm(self.spec.steps * 2, generator=generator)

        def mixed(field: Tensor) -> Tensor:
            return field.flatten(1, 2)[:, order].view(field.shape)

        return episode._replace(
            support_x=mixed(episode.support_x),
            support_y=mixed(episode.support_y),
            support_subtask=mixed(episode.support_subtask),
        )


def same(one: ContinualReport, other: ContinualReport, rtol: float = 1e-5) -> None:
    for name in ("error", "initial_error", "accuracy", "initial_accuracy"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=rtol)
    np.testing.assert_array_equal(one.seen, other.seen)
    np.testing.assert_array_equal(one.examples, other.examples)


def test_moments_are_numbers_of_inner_steps() -> None:
    """It predicts its last label: 20 for two steps, then 30, then 10; two examples a step."""
    learner = Recorder(MeanSquaredError(1))
    report = over_lifetime(learner, Constants(), 2, snapshots=[1, 3, 5])  # type: ignore[arg-type]
    by_hand = [[0, 100, 100], [100, 0, 400], [100, 400, 0]]  # subtasks 20, 30, 10
    np.testing.assert_allclose(report.matrix().mean, by_hand)
    assert report.examples.tolist() == [2, 6, 10]
    assert report.subtasks_seen.tolist() == [1, 2, 3]
    early = over_lifetime(learner, Constants(), 2, snapshots=[2])  # type: ignore[arg-type]
    np.testing.assert_allclose(early.matrix().mean, by_hand[:1])


@pytest.mark.parametrize("stream", [Clusters(), Shuffled()])
def test_equal_parts_are_the_moments_at_their_ends(stream: Clusters) -> None:
    learner = small_learner(stream, rate=0.05)
    parts = over_lifetime(learner, stream, 5, snapshots=3, trajectory=True)
    moments = over_lifetime(learner, stream, 5, snapshots=np.array([2, 4, 6]), trajectory=True)
    same(parts, moments, rtol=0)
    assert parts.trajectory is not None
    assert moments.trajectory is not None
    same(parts.trajectory, moments.trajectory, rtol=0)
    every = over_lifetime(learner, stream, 5, snapshots=range(1, 7))
    np.testing.assert_allclose(every.error[:, 1::2], parts.error, rtol=1e-5)
    np.testing.assert_array_equal(every.seen[:, 1::2], parts.seen)


@pytest.mark.parametrize("moments", [[], [0, 3], [3, 3], [4, 2], [7], [1.5, 2], [2, "3"]])
def test_moments_out_of_the_lifetime_or_out_of_order_are_refused(moments: list[int]) -> None:
    with pytest.raises(ValueError, match="Give whole numbers from 1 to 6, each larger than"):
        over_lifetime(small_learner(Clusters()), Clusters(), 1, snapshots=moments)


@pytest.mark.parametrize("stream", [Clusters(), Shuffled()])
def test_a_trajectory_is_the_examples_that_were_taught(stream: Clusters) -> None:
    """By a loop over lifetimes, moments, subtasks and examples."""
    learner = small_learner(stream, rate=0.05).eval()
    report = over_lifetime(learner, stream, 4, seed=2, snapshots=[1, 5], trajectory=True)
    trajectory = report.trajectory
    assert trajectory is not None
    assert trajectory.accuracy is not None
    for i in range(4):
        episode = stream.sample(1, seeded(2, "lifetime", i))
        order = list(dict.fromkeys(episode.support_subtask.flatten().tolist()))
        with torch.no_grad():
            x = learner.encode(episode.support_x.flatten(0, 2)).view(1, 6, 2, -1)
            for snapshot, steps in enumerate([1, 5]):
                fast = learner.initialize(episode.support_y, episode.seed)
                fast = learner.adapt(x[:, :steps], episode.support_y[:, :steps], fast)
                answers = learner.predict(fast, x.flatten(1, 2))[0].log_softmax(-1)
                for number, subtask in enumerate(order):
                    predicted = [
                        (answer[y].item(), answer.argmax().item() == y)
                        for answer, y, of in zip(
                            answers, episode.support_y.flatten().tolist(),
                            episode.support_subtask.flatten().tolist(), strict=True,
                        ) if of == subtask
                    ]  # fmt: skip
                    assert len(predicted) == 4
                    likely, right = np.array(predicted, dtype=float).T
                    assert trajectory.error[i, snapshot, number] == pytest.approx(
                        -likely.mean(), 1e-4
                    )
                    assert trajectory.accuracy[i, snapshot, number] == right.mean()
                met = episode.support_subtask[0, :steps].unique().numel()
                assert trajectory.seen[i, snapshot].sum() == report.seen[i, snapshot].sum() == met


def test_to_ask_for_the_trajectory_changes_nothing_else() -> None:
    stream = Clusters()
    learner = small_learner(stream, rate=0.05)
    with_it = over_lifetime(learner, stream, 5, trajectory=True)
    same(over_lifetime(learner, stream, 5), with_it, rtol=0)


def test_pieces_of_any_size_come_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of encoding, and of answers: a few at a time, in pieces that cross moments."""
    stream = Clusters(subtasks=3, steps=12)
    learner = small_learner(stream, rate=0.05)
    whole = over_lifetime(learner, stream, 5, snapshots=[1, 7, 12], trajectory=True)
    for images, answers in ((1, 1), (5 * 2 * 5, 5 * 8 * 7)):
        monkeypatch.setattr(module, "ENCODED_INPUTS", images)
        monkeypatch.setattr(module, "OUTPUT_NUMBERS", answers)
        pieces = over_lifetime(learner, stream, 5, snapshots=[1, 7, 12], trajectory=True)
        same(whole, pieces)
        assert whole.trajectory is not None
        assert pieces.trajectory is not None
        same(whole.trajectory, pieces.trajectory)
    same(whole, over_lifetime(learner, stream, 5, snapshots=[1, 7, 12], chunk=5))


@pytest.mark.parametrize("trajectory", [False, True])
def test_every_input_is_encoded_once_and_a_bounded_number_at_a_time(
    monkeypatch: pytest.MonkeyPatch, trajectory: bool
) -> None:
    stream = Clusters(subtasks=3, steps=12)
    learner = small_learner(stream)
    encoded, answered = [], []
    encode, predict = learner.encode, learner.predict

    def counted(sizes: list[int], how: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def measured(*given: Tensor) -> Tensor:
            sizes.append(given[-1].shape[:-1].numel())
            return how(*given)

        return measured

    monkeypatch.setattr(learner, "encode", counted(encoded, encode))
    monkeypatch.setattr(learner, "predict", counted(answered, predict))
    monkeypatch.setattr(module, "ENCODED_INPUTS", 20)
    monkeypatch.setattr(module, "OUTPUT_NUMBERS", 15 * 8)  # 8 features, more than there are outputs
    over_lifetime(learner, stream, 4, snapshots=6, tasks_per_batch=2, trajectory=trajectory)
    assert sum(encoded) == 4 * (24 + 12)
    assert max(encoded) == 20
    assert max(answered) <= 15
    assert sum(answered) == 7 * 4 * (12 + 24 * trajectory)


def test_a_learner_of_several_passes_has_a_trajectory_at_the_end() -> None:
    stream = Clusters()
    network, rule = nn.Sequential(nn.Linear(4, 3)), LearningRule(Direct(), Hebb(rate=0.1))
    learner = OnlineLearner(network, rule, objective_for(stream.spec), passes=2)
    report = over_lifetime(learner, stream, 3, snapshots=1, chunk=1, trajectory=True)
    assert report.trajectory is not None
    assert report.trajectory.error.shape == (3, 1, 3)
    episode = stream.sample(1, seeded(0, "lifetime", 0))
    fast = learner.eval().initialize(episode.support_y, episode.seed)
    fast = learner.adapt(episode.support_x, episode.support_y, fast)
    answers = learner.predict(fast, episode.support_x.flatten(1, 2))
    loss = learner.objective.loss(answers, episode.support_y.flatten(1, 2)).mean()
    assert report.trajectory.error[0].mean() == pytest.approx(loss.item(), rel=1e-5)


def test_means_by_subtask_are_those_of_masks() -> None:
    """The formula as it was: a mask of tasks, subtasks and queries. 3 is of no subtask."""
    source = torch.Generator().manual_seed(0)
    order = torch.rand(4, 5, generator=source).argsort(1)
    subtask = torch.randint(-1, 6, (4, 30), generator=source)
    subtask = torch.where(subtask == 3, 5, subtask)
    values = torch.rand(4, 30, generator=source).double()
    values[0, :7] = torch.inf
    member = subtask[:, None] == order[:, :, None]  # tasks subtasks queries
    by_hand = torch.where(member, values[:, None], 0.0).sum(2) / member.sum(2)
    found = module.mean_by_subtask(values, module.subtask_ranks(subtask, order), 5)
    assert found.isnan().sum() == 4
    assert found.isinf().any()
    torch.testing.assert_close(found, by_hand, equal_nan=True)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_prediction_with_anything_not_finite_in_it_is_wrong(bad: float) -> None:
    answers = torch.tensor([[0.0, 2.0, 1.0]]).repeat(4, 1)
    answers[[1, 2, 3], [0, 1, 2]] = bad
    right = module.is_correct(answers, answers.argmax(-1))
    assert right.tolist() == [1, 0, 0, 0]


def test_hundreds_of_classes_one_after_another_are_separated_by_their_rows() -> None:
    """Far apart and written down exactly, none is forgotten: right on what was seen, and only."""
    classes = 200

    class Corners(Clusters):
        def sample(self, tasks: int, generator: torch.Generator) -> module.Episode:
            episode = super().sample(tasks, generator)
            corner = torch.eye(classes)
            return episode._replace(
                support_x=corner[episode.support_subtask], query_x=corner[episode.query_subtask]
            )

    stream = Corners(subtasks=classes, steps=2 * classes)
    stream.spec = replace(stream.spec, input_shape=(classes,))
    network = nn.Sequential(nn.Linear(classes, classes, bias=False))
    rule = LearningRule(Direct(), Hebb(rate=1.0))
    learner = OnlineLearner(
        network, rule, objective_for(stream.spec), initialization=Initialization(readout="zeroed")
    )
    report = over_lifetime(learner, stream, 2, snapshots=[20, 200, 400], trajectory=True)
    assert report.accuracy is not None
    assert report.trajectory is not None
    assert report.subtasks_seen.tolist() == [10, 100, 200]
    for one in (report, report.trajectory):
        assert one.on_seen("accuracy").mean.tolist() == [1, 1, 1]
        assert one.forgetting("accuracy").mean == 0
    # Of a class not met all answers are 0, and the first class is the largest of equals.
    unmet = ~report.seen & (np.arange(classes) > 0)
    assert report.accuracy[unmet].max() == 0
