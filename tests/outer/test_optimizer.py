"""Parameter groups and schedules."""

from __future__ import annotations

import math

import pytest
import torch

from metaplastic.outer.optimizer import frozen_groups, make_optimizer, make_schedule
from tests.helpers.small_runs import RATES, Clusters, small_learner


def rates_over(schedule: torch.optim.lr_scheduler.LRScheduler, steps: int) -> list[list[float]]:
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr())
        schedule.optimizer.step()
        schedule.step()
    return found


def test_each_group_of_the_learner_gets_its_own_rate() -> None:
    learner = small_learner(Clusters())
    optimizer = make_optimizer(learner, RATES, "SGD", momentum=0.9)
    assert {g["name"]: g["lr"] for g in optimizer.param_groups} == RATES
    assert all(g["momentum"] == 0.9 for g in optimizer.param_groups)
    given = {id(p) for g in optimizer.param_groups for p in g["params"]}
    assert given == {id(p) for p in learner.parameters() if p.requires_grad}


def test_a_group_without_a_rate_or_with_rate_zero_is_frozen_and_named() -> None:
    learner = small_learner(Clusters())
    optimizer = make_optimizer(learner, {"weights": 1e-3, "feedback": 0, "strength": 1e-3})
    assert frozen_groups(learner, optimizer) == ("feedback", "plasticity")


def test_a_learner_with_everything_frozen_is_refused() -> None:
    with pytest.raises(ValueError, match="every group of this learner is frozen"):
        make_optimizer(small_learner(Clusters()), {"weights": 0.0})


@pytest.mark.parametrize(
    ("rates", "kind", "options", "sentence"),
    [
        ({"weigths": 1e-3}, "Adam", {}, "Did you mean 'weights'"),
        ({"weights": -1.0}, "Adam", {}, "must be 0 .frozen. or positive"),
        ({"weights": math.nan}, "Adam", {}, "must be 0 .frozen. or positive"),
        ({"weights": 1e-3}, "Adm", {}, "Did you mean 'Adam'"),
        ({"weights": 1e-3}, "LBFGS", {}, "first-order optimizer"),
        ({"weights": 1e-3}, "Adam", {"beta": (0.9, 0.9)}, "Did you mean 'betas'"),
    ],
)
def test_what_cannot_be_is_refused_with_the_nearest_choice(
    rates: dict[str, float], kind: str, options: dict[str, object], sentence: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence):
        make_optimizer(small_learner(Clusters()), rates, kind, **options)


def test_the_published_schedule_decays_the_weights_group_only() -> None:
    optimizer = make_optimizer(small_learner(Clusters()), RATES)
    schedule = make_schedule(
        optimizer, "multistep", milestones=(2, 4), gamma=0.3, groups=("weights",)
    )
    names = [group["name"] for group in optimizer.param_groups]
    rates = [dict(zip(names, row, strict=True)) for row in rates_over(schedule, 6)]
    start = RATES["weights"]
    expected = [start, start, start * 0.3, start * 0.3, start * 0.09, start * 0.09]
    assert [row["weights"] for row in rates] == pytest.approx(expected)
    assert all(row["plasticity"] == RATES["plasticity"] for row in rates)


@pytest.mark.parametrize(
    ("kind", "reference"),
    [
        ("cosine", lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=10)),
        ("linear", lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=10)),
        ("constant", lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0)),
        ("exponential", lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.1)),
    ],
)
def test_schedules_agree_with_torch(kind: str, reference: object) -> None:
    ours = make_optimizer(small_learner(Clusters()), RATES)
    theirs = make_optimizer(small_learner(Clusters()), RATES)
    found = rates_over(make_schedule(ours, kind, steps=10), 10)
    expected = rates_over(reference(theirs), 10)  # type: ignore[operator]
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected))


def test_warmup_rises_to_the_full_rate_in_equal_steps() -> None:
    optimizer = make_optimizer(small_learner(Clusters()), {"weights": 1.0})
    rates = [row[0] for row in rates_over(make_schedule(optimizer, warmup=4), 6)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("cosin", {}, "Did you mean 'cosine'"),
        ("cosine", {}, "needs steps"),
        ("multistep", {"milestones": (4, 2)}, "milestones must be strictly increasing"),
        ("constant", {"groups": ("weight",)}, "Did you mean 'weights'"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(
    kind: str, options: dict[str, object], sentence: str
) -> None:
    optimizer = make_optimizer(small_learner(Clusters()), RATES)
    with pytest.raises(ValueError, match=sentence):
        make_schedule(optimizer, kind, **options)  # type: ignore[arg-type]
