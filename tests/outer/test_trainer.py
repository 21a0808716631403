"""The outer loop: what it does in a step, that it can be cut anywhere, and shared out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from metaplastic.outer import checkpoint
from metaplastic.outer.buffers import Buffers
from metaplastic.outer.distributed import ProcessGroup, micro_batches
from metaplastic.outer.loggers import TIMINGS
from metaplastic.outer.trainer import MetaTrainer
from metaplastic.outer.trainer_config import TrainerConfig
from metaplastic.support.seeding import derive, seeded
from tests.helpers.small_runs import RATES, Clusters, small_learner, small_run

ROOT = Path(__file__).resolve().parents[2]


def script(*arguments: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.helpers.small_runs", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def newest(folder: Path) -> dict[str, Any]:
    found = checkpoint.latest(folder)
    assert found is not None
    return checkpoint.unpack(found[1], str(folder))


def tensors(state: Any, name: str = "") -> dict[str, torch.Tensor]:
    if isinstance(state, torch.Tensor):
        return {name: state}
    pairs = state.items() if isinstance(state, dict) else enumerate(state)
    inside = [tensors(v, f"{name}.{k}") for k, v in pairs
              if isinstance(v, torch.Tensor | dict | list)]  # fmt: skip
    return {key: value for part in inside for key, value in part.items()}


def metrics(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMINGS} for line in lines]


def require_same_run(one: Path, other: Path) -> None:
    first, second = newest(one), newest(other)
    assert first["step"] == second["step"]
    assert first["schedule"] == second["schedule"]
    a, b = tensors(first), tensors(second)
    assert a.keys() == b.keys()
    assert len(a) > 10
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    assert metrics(one) == metrics(other)


def parameters(trainer: MetaTrainer) -> list[torch.Tensor]:
    return [p.detach().clone() for p in trainer.learner.parameters()]


def test_a_meta_step_is_the_gradient_of_the_mean_over_tasks() -> None:
    """Micro-batches of 2 against one plain backward pass over all 4 tasks."""
    stream = Clusters()
    learner, twin = small_learner(stream, dropout=0.0), small_learner(stream, dropout=0.0)
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.1)
    config = TrainerConfig(steps=1, tasks=4, micro_batch=2, seed=7)
    record = MetaTrainer(learner, stream, optimizer, config).advance()
    loss = twin(stream.sample(4, seeded(7, 0))).loss
    loss.backward()
    assert record["loss"] == pytest.approx(loss.item(), rel=1e-5)
    norm = torch.cat([p.grad.flatten() for p in twin.parameters() if p.grad is not None]).norm()
    assert record["gradient_norm"] == pytest.approx(norm.item(), rel=1e-5)
    for ours, theirs in zip(learner.parameters(), twin.parameters(), strict=True):
        gradient = 0 if theirs.grad is None else theirs.grad
        torch.testing.assert_close(ours.detach(), theirs.detach() - 0.1 * gradient)


def test_clipping_bounds_the_step_and_the_metrics_keep_the_norm_before_it() -> None:
    stream = Clusters()
    learner = small_learner(stream)
    before = [p.detach().clone() for p in learner.parameters()]
    optimizer = torch.optim.SGD(learner.parameters(), lr=1.0)
    record = MetaTrainer(learner, stream, optimizer, TrainerConfig(steps=1, clip=1e-3)).advance()
    moved = [
        (p.detach() - was).flatten() for p, was in zip(learner.parameters(), before, strict=True)
    ]
    assert torch.cat(moved).norm().item() == pytest.approx(1e-3, rel=1e-3)
    assert record["gradient_norm"] > 1e-2  # type: ignore[operator]


def test_a_frozen_group_does_not_move() -> None:
    trainer = small_run(rates={"weights": 1e-2}, steps=3)
    groups = trainer.learner.parameter_groups()
    before = {name: [p.detach().clone() for p in group] for name, group in groups.items()}
    trainer.fit()
    for name, group in groups.items():
        same = all(torch.equal(p, was) for p, was in zip(group, before[name], strict=True))
        assert same == (name != "weights")


def test_neighboring_meta_steps_and_seeds_draw_different_lifetimes() -> None:
    drawn = {derive(seed, step) for seed in range(30) for step in range(30)}
    assert len(drawn) == 900
    assert max(drawn) < 2**63
    first, again, other = (torch.rand(3, generator=seeded(*s)) for s in [(0, 1), (0, 1), (1, 0)])
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_training_leaves_the_callers_randomness_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    trainer = small_run(steps=2)
    torch.manual_seed(3)
    trainer.fit()
    assert torch.equal(torch.rand(2), expected)


def test_validation_changes_nothing_of_the_training(tmp_path: Path) -> None:
    watched, alone = small_run(), small_run(validate_every=None)
    watched.fit()
    alone.fit()
    for a, b in zip(parameters(watched), parameters(alone), strict=True):
        assert torch.equal(a, b)


def test_metrics_say_what_happened_and_where_the_time_went(tmp_path: Path) -> None:
    small_run(tmp_path, steps=6, log_every=2, validate_every=3).fit()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3, 4, 6]
    assert all({"loss", "accuracy", "gradient_norm", *TIMINGS} <= line.keys() for line in lines)
    assert all(0 < line["sampling_share"] < 1 for line in lines)
    assert ["validation_accuracy" in line for line in lines] == [False, True, False, True]


def test_a_run_is_bitwise_the_same_on_one_two_and_four_processes(tmp_path: Path) -> None:
    script("many", str(tmp_path))
    require_same_run(tmp_path / "1", tmp_path / "2")
    require_same_run(tmp_path / "1", tmp_path / "4")


def test_a_run_killed_at_random_moments_and_resumed_is_the_uninterrupted_run(
    tmp_path: Path,
) -> None:
    kills = int(script("killed", str(tmp_path)))
    assert kills >= 2
    require_same_run(tmp_path / "killed", tmp_path / "left alone")


@pytest.mark.slow
def test_torchrun_starts_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
               "-m", "tests.helpers.small_runs", "joined", str(tmp_path / "two")]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_PORT": "0"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=300, capture_output=True)
    small_run(tmp_path / "one").fit()
    require_same_run(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize(
    ("tasks", "micro_batch", "size", "sentence"),
    [
        (8, 3, 1, "Choose a micro_batch that divides 8"),
        (8, None, 2, "Set micro_batch to 4"),
        (8, 4, 4, "Set micro_batch to 2"),
        (6, 2, 4, "Choose tasks divisible by 4"),
    ],
)
def test_tasks_that_cannot_be_shared_out_are_refused(
    tasks: int, micro_batch: int | None, size: int, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        micro_batches(ProcessGroup(0, size), tasks, micro_batch, "tasks")


def test_resuming_with_other_settings_names_the_field(tmp_path: Path) -> None:
    small_run(tmp_path, steps=4).fit()
    for change, field in [
        ({"clip": 2.0}, "trainer.clip was 1.0 and is now 2.0"),
        ({"seed": 1}, "trainer.seed was 0 and is now 1"),
        ({"rates": {**RATES, "weights": 1.0}}, "optimizer.groups.weights.rate was 0.01"),
        ({"stream": Clusters(steps=9)}, "stream.steps was 6 and is now 9"),
        ({"learner": small_learner(Clusters(), rate=1.0)}, "learner.options.rule.*rate was 0.001"),
    ]:
        with pytest.raises(checkpoint.CheckpointError, match=field):
            small_run(tmp_path, **change).resume()  # type: ignore[arg-type]


def test_a_run_may_be_resumed_for_longer_and_logged_more_often(tmp_path: Path) -> None:
    small_run(tmp_path / "at once", steps=9).fit()
    small_run(tmp_path / "extended", steps=6, save_every=3).fit()
    small_run(tmp_path / "extended", steps=9).resume()
    require_same_run(tmp_path / "at once", tmp_path / "extended")


def test_restoring_takes_the_state_and_writes_nothing(tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = small_run(run, steps=6)
    done.fit()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "loss": 0')  # as a killed process leaves it
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    restored = small_run(run, steps=9)
    restored.restore()
    assert restored.step == 6
    for a, b in zip(parameters(done), parameters(restored), strict=True):
        assert torch.equal(a, b)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    restored.resume()
    small_run(tmp_path / "at once", steps=9).fit()
    require_same_run(run, tmp_path / "at once")


def test_a_fresh_run_does_not_write_over_an_old_one(tmp_path: Path) -> None:
    small_run(tmp_path, steps=4).fit()
    with pytest.raises(checkpoint.CheckpointError, match="already holds the checkpoints"):
        small_run(tmp_path, steps=4).fit()


def test_statistics_that_depend_on_who_computed_what_are_refused() -> None:
    stream = Clusters()
    learner = small_learner(stream)
    learner.encoder = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
    small_run(learner=learner, micro_batch=None).advance()  # one process may
    buffers = Buffers(learner)
    learner.train()(stream.sample(2, seeded(0, 0)))
    with pytest.raises(RuntimeError, match="the buffer encoder"):
        buffers.require_unchanged()
    buffers.restore()
    buffers.require_unchanged()
