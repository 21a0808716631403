"""Small learners, streams and runs for the tests of the outer loop.

As a script it trains in other processes: `many FOLDER` on 1, 2 and 4 of them, `killed FOLDER` in
one that is killed at random moments until it is done, beside one that is not; `joined FOLDER` is
what torchrun starts. Forking after the imports makes a process a matter of milliseconds; it must
come before the first backward pass.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import torch
from torch import nn

from metaplastic import Direct, LearningRule, Oja, OnlineLearner, objective_for
from metaplastic.episode import Episode, StreamSpec, TaskStream
from metaplastic.outer.distributed import process_group
from metaplastic.outer.loggers import JsonLines
from metaplastic.outer.optimizer import make_optimizer, make_schedule
from metaplastic.outer.trainer import MetaTrainer
from metaplastic.outer.trainer_config import TrainerConfig
from metaplastic.support.describe import known

RATES = {"weights": 1e-2, "feedback": 1e-2, "plasticity": 1e-4, "strength": 1e-3}


class Clusters:
    """Classification: points near a center for each of `subtasks` classes, class by class."""

    def __init__(self, subtasks: int = 3, steps: int = 6) -> None:
        self.spec = StreamSpec(
            name="clusters", kind="classification", input_shape=(4,), outputs=subtasks,
            steps=steps, batch=2, queries=4 * subtasks, subtasks=subtasks, fingerprint="made up",
        )  # fmt: skip

    def sample(self, tasks: int, generator: torch.Generator) -> Episode:
        spec = self.spec
        centers = torch.randn(tasks, spec.subtasks, 4, generator=generator)
        met = torch.arange(spec.subtasks).repeat_interleave(spec.steps // spec.subtasks)
        support = met[None, :, None].expand(tasks, spec.steps, spec.batch)
        query = torch.arange(spec.subtasks).repeat(4).expand(tasks, spec.queries)

        def near(classes: torch.Tensor) -> torch.Tensor:
            chosen = torch.stack([c[k] for c, k in zip(centers, classes, strict=True)])
            return chosen + 0.3 * torch.randn(chosen.shape, generator=generator)

        return Episode(
            near(support), support, support, near(query), query, query,
            torch.randint(2**62, (tasks,), generator=generator),
        )  # fmt: skip


def small_learner(stream: TaskStream, dropout: float = 0.1, rate: float = 1e-3) -> OnlineLearner:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(stream.spec.input_shape[0], 8), nn.Dropout(dropout))
    network = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, stream.spec.outputs))
    rule = LearningRule(Direct(), Oja(rate=rate))
    return OnlineLearner(network, rule, objective_for(stream.spec), encoder=encoder)


def small_run(
    folder: Path | None = None,
    stream: TaskStream | None = None,
    learner: OnlineLearner | None = None,
    rates: dict[str, float] | None = None,
    **settings: object,
) -> MetaTrainer:
    """A run with momentum, weight decay, a schedule, clipping, dropout and validation."""
    stream = stream or Clusters()
    learner = learner or small_learner(stream)
    given = {
        "steps": 12, "tasks": 4, "micro_batch": 1, "clip": 1.0, "save_every": 4,
        "log_every": 1, "validate_every": 3, "validation_tasks": 4,
    }  # fmt: skip
    config = TrainerConfig(**{**given, **settings})  # type: ignore[arg-type]
    optimizer = make_optimizer(learner, rates or RATES, "AdamW", weight_decay=0.01)
    return MetaTrainer(
        learner,
        stream,
        optimizer,
        config,
        schedule=make_schedule(optimizer, "cosine", warmup=2, steps=100, groups=("weights",)),
        folder=folder,
        loggers=() if folder is None else [JsonLines(folder / "metrics.jsonl")],
        validation=Clusters(),
    )


def forked(work: Callable[[], None], **environment: str) -> int:
    """The id of a new process that does `work` and ends with status 0 if all went well."""
    process = os.fork()
    if process == 0:
        os.environ.update(environment)
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return process


def ended_well(process: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def many(folder: Path) -> None:
    """The same run on 1, 2 and 4 processes."""
    for size in (1, 2, 4):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
        work = partial(one_of_many, folder / str(size))
        children = [
            forked(work, RANK=str(rank), LOCAL_RANK=str(rank), **address) for rank in range(size)
        ]
        assert [ended_well(child) for child in children] == [True] * size


def one_of_many(folder: Path) -> None:
    """What each process that torchrun starts does."""
    with process_group("cpu"):
        small_run(folder).fit()


def killed(folder: Path) -> None:
    """A run killed by SIGKILL until it ends by itself, and one left alone. Prints the kills."""
    settings = {"steps": 40, "save_every": 3}
    began = time.perf_counter()
    assert ended_well(forked(lambda: small_run(folder / "left alone", **settings).fit()))
    whole = time.perf_counter() - began
    for kills in range(100):
        child = forked(lambda: small_run(folder / "killed", **settings).resume())
        # The first three fall within a run; later ones leave more and more time, so that it ends.
        time.sleep(random.uniform(0, (0.3 if kills < 3 else 0.1 * kills) * whole))
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert status == 0
            print(kills)
            return
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    raise AssertionError("The run never came to its end.")


if __name__ == "__main__":
    torch.set_num_threads(1)
    # What a first step would import, once for all children.
    known()
    import_module("torch._dynamo")
    {"many": many, "joined": one_of_many, "killed": killed}[sys.argv[1]](Path(sys.argv[2]))
