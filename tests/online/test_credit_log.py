"""Angles over training are those of the moment, and taking them leaves no trace."""

from __future__ import annotations

import copy
import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaplastic import AngleLog, Credit, JsonLines, angles, credit
from metaplastic.online.credit_log import MEASURES
from tests.helpers.credit_models import Own, made

SOME = ("residual, batch norm", "twice and tied", "strides and paddings")


def dropping() -> tuple[nn.Module, Tensor, Tensor]:
    """A network with statistics and chance: what a careless measurement would disturb."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3),
    )  # fmt: skip
    return model, torch.randn(16, 6), torch.randint(3, (16,))


def trained(rule: str, every: int | None, **options: Any) -> tuple[nn.Module, Credit, Tensor]:
    """A dozen minibatches; the third value is what the random generator would give next."""
    model, x, y = dropping()
    own = credit(rule, model, example=x, seed=1, **options)
    opt = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-3)
    log = AngleLog(own, model, x, y, F.cross_entropy, every=every or 1)
    for step in range(12):
        rows = torch.randint(len(x), (8,))
        own.backward(model, x[rows], y[rows], F.cross_entropy)
        if every is not None:
            log.log(step)  # between gradients and the optimizer's step: the worst moment
        opt.step()
        opt.zero_grad()
    return model, own, torch.rand(3)


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("rule", ["symmetric_alignment", "direct_feedback_alignment"])
def test_rows_are_the_angles_measured_by_hand_at_these_steps(name: str, rule: str) -> None:
    model, x, y = made(name)
    own = credit(rule, model, example=x, seed=1)
    log = AngleLog(own, model, x, y, F.mse_loss, every=3)
    opt = torch.optim.SGD(model.parameters(), 0.05)
    expected = []
    for step in range(7):
        seen = angles(own, model, x, y, F.mse_loss)
        assert log.log(step) == (step in (0, 3, 6))
        if step % 3 == 0:
            expected += [
                {"step": step, "site": site, "weight": found.weight, "local": found.local}
                | {"delta": found.delta, "ratio": found.ratio}
                for site, found in seen.items()
            ]
        opt.zero_grad()
        own.backward(model, x, y, F.mse_loss)
        opt.step()
    assert log.rows == expected


@pytest.mark.parametrize("name", SOME)
def test_where_feedback_is_the_weight_all_angles_are_zero_and_ratios_one(name: str) -> None:
    model, x, y = made(name)
    log = AngleLog(credit(Own(), model, example=x), model, x, y, F.mse_loss)
    log.measure(0)
    for row in log.rows:
        assert row["delta"] == pytest.approx(0, abs=1e-6)
        if row["weight"] is not None:
            assert row["weight"] == pytest.approx(0, abs=1e-6)
            assert row["local"] == pytest.approx(0, abs=1e-6)
            assert row["ratio"] == pytest.approx(1)


@pytest.mark.parametrize(
    "rule",
    ["feedback_alignment", "direct_feedback_alignment", "kolen_pollack", "batchwise_random_sign",
     "information_alignment"],
)  # fmt: skip
def test_a_run_that_is_logged_is_the_same_to_the_bit(rule: str) -> None:
    options = {"noise": 0.01}
    model, own, chance = trained(rule, None, **options)
    again, also, still = trained(rule, 2, **options)
    assert torch.equal(chance, still)
    for one, other in ((model, again), (own, also)):
        kept, found = one.state_dict(), other.state_dict()
        assert kept.keys() == found.keys()
        assert all(torch.equal(kept[name], found[name]) for name in kept)


def test_measuring_leaves_gradients_statistics_and_modes_as_they_were() -> None:
    model, x, y = dropping()
    model[1].eval()
    own = credit("feedback_alignment", model, example=x)
    own.backward(model, x, y, F.cross_entropy)
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    AngleLog(own, model, x, y, F.cross_entropy).measure(5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    after = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(after) == len(gradients)
    assert all(torch.equal(a, b) for a, b in zip(after, gradients, strict=True))


def test_files_give_the_rows_back(tmp_path: Path) -> None:
    model, x, y = dropping()
    log = AngleLog(
        credit("fa", model.eval(), example=x), model, x, y, F.cross_entropy, every=10
    )  # fmt: skip
    for step in (0, 5, 10):
        log.log(step)
    log.rows[-1]["delta"] = math.inf
    log.to_csv(tmp_path / "new" / "angles.csv")
    log.to_json(tmp_path / "angles.json")
    with (tmp_path / "new" / "angles.csv").open() as file:
        table = list(csv.DictReader(file))
    records = json.loads((tmp_path / "angles.json").read_text())
    for row, cells, record in zip(log.rows, table, records, strict=True):
        assert cells["site"] == record["site"] == row["site"]
        assert int(cells["step"]) == record["step"] == row["step"]
        for measure in MEASURES:
            if row[measure] is None:
                assert cells[measure] == ""
                assert record[measure] is None
            else:
                assert float(cells[measure]) == float(record[measure]) == row[measure]


def test_scalars_are_the_last_measurement_and_go_into_a_sink(tmp_path: Path) -> None:
    model, x, y = dropping()
    log = AngleLog(credit("dfa", model, example=x), model, x, y, F.cross_entropy)
    assert log.scalars() == {}
    log.measure(0)
    log.measure(7)
    metrics = log.scalars()
    assert set(metrics) == {
        "angles/0/delta", "angles/4/delta", "angles/4/local", "angles/6/delta", "angles/6/local",
    }  # fmt: skip
    assert metrics["angles/4/delta"] == log.rows[-2]["delta"]
    sink = JsonLines(tmp_path / "metrics.jsonl")
    sink.log(7, metrics)
    assert json.loads(sink.path.read_text()) == {"step": 7, **metrics}


def test_what_cannot_be_logged_is_reported_at_once() -> None:
    model, x, y = dropping()
    own = credit("fa", model, example=x)
    with pytest.raises(ValueError, match="every is 0; it is a number of steps, 1 or more"):
        AngleLog(own, model, x, y, F.cross_entropy, every=0)
    log = AngleLog(own, model, x, y, F.cross_entropy, every=5)
    log.log(10)
    with pytest.raises(ValueError, match="step 5 was to be logged after step 10; steps go up"):
        log.log(5)
    chain = nn.Sequential(nn.Linear(4, 4), nn.LeakyReLU(), nn.Linear(4, 4)).double()
    inverse = credit("gait_prop", chain, example=torch.randn(2, 4).double())
    with pytest.raises(ValueError, match="GaitProp has targets in the place of errors"):
        AngleLog(inverse, chain, x, y, F.mse_loss)
