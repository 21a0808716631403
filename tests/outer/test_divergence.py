"""Lifetimes that blow up are named, and nothing is learned from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from metaplastic import Delta, LearningRule, OnlineLearner, objective_for
from metaplastic.outer import checkpoint
from metaplastic.outer.divergence import DivergenceError, DivergenceWarning, locate
from metaplastic.pathways.carried_back import Backprop
from metaplastic.support.seeding import seeded
from tests.helpers.small_runs import Clusters, small_learner, small_run


class Poisoned(Clusters):
    """Clusters in which, at some calls, one input of a task is so large that weights overflow."""

    def __init__(self, calls: range, task: int = 2, step: int = 3, value: float = 1e30) -> None:
        super().__init__()
        self.at, self.value, self.bad, self.call = (task, step), value, calls, 0

    def sample(self, tasks: int, generator: torch.Generator) -> object:  # type: ignore[override]
        episode = super().sample(tasks, generator)
        if self.call in self.bad:
            episode.support_x[self.at] = self.value
        self.call += 1
        return episode


def snapshot(run: object) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in run.learner.state_dict().items()}  # type: ignore[attr-defined]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_diverging_lifetime_is_named_by_task_inner_step_and_site() -> None:
    stream = Poisoned(range(1))
    learner = small_learner(stream)
    found = locate(learner, stream.sample(4, seeded(0)), 2, meta_step=5)  # type: ignore[arg-type]
    assert (found.meta_step, found.task, found.inner_step) == (5, 2, 3)
    assert found.site in ("0.weight", "2.weight")
    assert str(found).startswith("meta-step 5, task 2, inner step 3: ")


def test_a_lifetime_that_explodes_but_stays_finite_is_named_where_it_began() -> None:
    stream = Clusters()
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    rule = LearningRule(Backprop(), Delta(rate=1e4))
    learner = OnlineLearner(network, rule, objective_for(stream.spec))
    episodes = stream.sample(2, seeded(0))
    found = locate(learner, episodes, 1, meta_step=0)
    fast = learner.initialize(episodes.support_y, episodes.seed)
    sizes = {name: max(weight[1].abs().max().item(), 1.0) for name, weight in fast.items()}
    assert found.inner_step is not None
    for step in range(found.inner_step + 1):
        largest = {name: weight[1].abs().max().item() for name, weight in fast.items()}
        assert all(largest[name] <= 1e3 * sizes[name] for name in fast), "found too late"
        x, y = episodes.support_x[:, step : step + 1], episodes.support_y[:, step : step + 1]
        fast = learner.adapt(x, y, fast)
    assert found.site is not None
    assert fast[found.site][1].abs().max() > 1e3 * sizes[found.site]


def test_data_that_are_not_finite_are_named_as_such() -> None:
    stream = Poisoned(range(1), value=float("nan"))
    episodes = stream.sample(4, seeded(0))
    found = locate(small_learner(stream), episodes, 2, 0)  # type: ignore[arg-type]
    assert found.site == "support_x"
    assert "the stream's support_x is not finite" in str(found)


def test_a_skipped_meta_step_changes_nothing_and_is_recorded(tmp_path: Path) -> None:
    run = small_run(tmp_path, stream=Poisoned(range(1, 2)), log_every=100, validate_every=None)
    run.advance()
    before, moments = snapshot(run), run.optimizer.state_dict()
    first = moments["state"][0]["exp_avg"].clone()
    with pytest.warns(DivergenceWarning, match="Skipped meta-step 1, task 2, inner step 3"):
        run.advance()
    assert same(before, snapshot(run))
    assert torch.equal(run.optimizer.state_dict()["state"][0]["exp_avg"], first)
    assert run.step == 2
    run.advance()
    assert not same(before, snapshot(run))
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert (record["step"], record["diverged_task"], record["diverged_inner_step"]) == (2, 2, 3)
    assert "gradient_norm" not in record


def test_a_run_that_skips_is_the_same_after_a_resume(tmp_path: Path) -> None:
    whole = small_run(tmp_path / "whole", stream=Poisoned(range(1, 3)), steps=6)
    with pytest.warns(DivergenceWarning):
        whole.fit()
    with pytest.warns(DivergenceWarning):
        small_run(tmp_path / "cut", stream=Poisoned(range(1, 3)), steps=2).fit()
    resumed = small_run(tmp_path / "cut", stream=Poisoned(range(1)), steps=6)
    with pytest.warns(DivergenceWarning):
        resumed.resume()
    assert same(snapshot(whole), snapshot(resumed))


def test_a_run_set_to_stop_stops_with_its_work_saved(tmp_path: Path) -> None:
    run = small_run(tmp_path, stream=Poisoned(range(3, 4)), on_divergence="stop", save_every=100)
    with pytest.raises(DivergenceError, match="Stopped at meta-step 3, task 2, inner step 3"):
        run.fit()
    assert run.step == 3
    assert [path.name for path in checkpoint.found(tmp_path)] == ["step-000000003.checkpoint"]
    assert "diverged" in json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    healthy = small_run(tmp_path, stream=Clusters(), on_divergence="skip", steps=5)
    healthy.resume()
    assert healthy.step == 5


@pytest.mark.filterwarnings("ignore::metaplastic.outer.divergence.DivergenceWarning")
def test_too_many_skipped_in_a_row_stop_the_run() -> None:
    run = small_run(stream=Poisoned(range(2, 100)), max_skipped=3)
    with pytest.raises(DivergenceError, match="Stopped after 3 unusable meta-steps in a row"):
        run.fit()
    assert run.step == 4


def test_a_finite_loss_above_the_limit_counts_as_diverged() -> None:
    run = small_run(loss_limit=1e-6)
    before = snapshot(run)
    with pytest.warns(DivergenceWarning, match="task 0"):
        run.advance()
    assert same(before, snapshot(run))


def test_a_gradient_that_is_not_finite_is_named_by_task_and_parameter() -> None:
    learner = small_learner(Clusters())

    def break_gradient(gradient: torch.Tensor) -> torch.Tensor:
        return gradient * torch.nan

    next(learner.encoder.parameters()).register_hook(break_gradient)  # type: ignore[union-attr]
    run = small_run(learner=learner)
    with pytest.warns(DivergenceWarning, match=r"task 0: .*gradient for encoder\.0\.weight"):
        run.advance()


def overflowing() -> OnlineLearner:
    """A learner whose meta-gradient is finite, and too large for its norm to be."""
    learner = small_learner(Clusters())
    for parameter in learner.encoder.parameters():  # type: ignore[union-attr]
        parameter.register_hook(lambda gradient: gradient * 1e30)
    return learner


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_meta_gradient_whose_norm_overflows_is_not_used(clip: float | None) -> None:
    run = small_run(learner=overflowing(), clip=clip)
    before = snapshot(run)
    with pytest.warns(DivergenceWarning, match=r"finite but its norm is not.*reach \d.*e\+2"):
        record = run.advance()
    assert same(before, snapshot(run))
    assert run.optimizer.state_dict()["state"] == {}
    assert "gradient_norm" not in record


def test_a_run_set_to_stop_stops_at_a_norm_that_overflows() -> None:
    run = small_run(learner=overflowing(), on_divergence="stop")
    with pytest.raises(DivergenceError, match=r"Stopped at meta-step 0: .* its norm is not"):
        run.fit()
