"""Meta-training of a run: build the learner, train it, evaluate it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

from experiments.lab.networks.build import build_learner, build_rates, build_stream, require_device
from experiments.lab.runs.loggers import ProgressBar, requested_loggers, require_loggers
from experiments.lab.runs.outcome import finish
from experiments.lab.runs.progress import progress
from experiments.lab.runs.rule_statistics import rule_statistics
from experiments.lab.runs.run_folder import RunFolder, write_json
from experiments.lab.runs.run_lock import alone_in
from experiments.lab.settings.config import Train, record
from experiments.lab.settings.resolved import resolved
from metaplastic import OnlineLearner, TaskStream, Unroll
from metaplastic.outer.distributed import ProcessGroup, process_group
from metaplastic.outer.loggers import JsonLines, Logger
from metaplastic.outer.optimizer import make_optimizer, make_schedule
from metaplastic.outer.trainer import MetaTrainer
from metaplastic.outer.trainer_config import TrainerConfig
from metaplastic.support.seeding import global_seed

Watch = Callable[[Train, OnlineLearner], Logger]
WARM_UP = 2  # meta-steps that are slower than those after them
TIMED = 0.03  # share of the requested minutes


def meta_train(config: Train, watch: Watch | None = None) -> None:
    """Run a `meta_train` configuration, in every process that `torchrun` started.

    With `watch`, a logger of its making receives the metrics as well, and may raise; the learner
    is then neither saved as a rule nor evaluated.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    require_device(config.device)
    with (
        process_group(config.device) as (group, device),
        ExitStack() as stack,
        ExitStack() as bar,
    ):
        if group.size > 1 and config.micro_batch is None and not config.resume:
            # The run is then bitwise the same for any number of processes that divides this one.
            config = replace(config, micro_batch=max(1, config.tasks // group.size))
        stream = build_stream(config, "train")
        folder = RunFolder(config.runs / config.run_name)
        if group.main:
            stack.enter_context(alone_in(folder.root))
            if not config.resume:
                folder.refuse(config.overwrite)
        if config.minutes is not None and not config.resume:
            config = replace(config, steps=steps_in(config, stream, group, device))
        learner = fresh_learner(config, stream)
        trainer = make_trainer(config, learner, stream, device, folder)
        if config.resume:
            trainer.restore()
        if group.main:  # after everything was built: nothing is written for a config that fails
            found = resolved(config, learner, stream)
            trainer.loggers = start(config, folder, bar, stack, trainer.step)
            if watch is not None:
                trainer.loggers += (watch(config, learner),)
            write_json(folder.resolved, found)
        if config.resume:  # `fit` would refuse a run that stopped at its first meta-step
            trainer.resume()
        else:
            trainer.fit()
        if group.main:
            bar.close()  # before other output
            if watch is not None:
                return
            finish(config, folder, learner, stream, trainer.loggers)


def fresh_learner(config: Train, stream: TaskStream) -> OnlineLearner:
    """The learner before its first meta-step; the same for the same seed."""
    with global_seed(torch.device("cpu"), "learner", config.seed):
        learner = build_learner(config, stream)
    how = (config.checkpoint_every, config.truncate, config.compile, config.precision)
    learner.unroll = Unroll(*how, learner.unroll.both_ways)  # chosen by the method
    return learner


def make_trainer(
    config: Train,
    learner: OnlineLearner,
    stream: TaskStream,
    device: torch.device,
    folder: RunFolder | None = None,
) -> MetaTrainer:
    """The trainer of a config; without a folder it writes nothing."""
    rates = build_rates(config, stream, learner.parameter_groups())
    optimizer = make_optimizer(learner, rates)
    published: dict[str, Any] = {
        "milestones": (1500, 2500, 3500), "gamma": 0.3, "groups": ("weights",),
    }  # fmt: skip
    schedule = (
        make_schedule(optimizer, "multistep", **published)
        if config.schedule == "published"
        else make_schedule(optimizer, config.schedule, steps=max(config.steps, 1))
    )
    return MetaTrainer(
        learner,
        stream,
        optimizer,
        TrainerConfig(
            steps=config.steps,
            tasks=config.tasks,
            micro_batch=config.micro_batch,
            clip=config.clip,
            on_divergence=config.on_divergence,
            loss_limit=config.loss_limit,
            max_skipped=config.max_skipped,
            save_every=config.save_every,
            log_every=config.log_every,
            seed=config.seed,
        ),
        schedule=schedule,
        folder=None if folder is None else folder.checkpoints,
        device=device,
        extra_metrics=rule_statistics,
    )


def steps_in(config: Train, stream: TaskStream, group: ProcessGroup, device: torch.device) -> int:
    """The number of meta-steps that fit into `config.minutes`, from timing a few on a copy.

    The number is recorded as the run's `steps`, so the run itself does not depend on the clock.
    With one thread, CPU time is measured, which does not depend on other processes.
    """
    assert config.minutes is not None
    alone = device.type == "cpu" and group.size == 1 and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    trial = make_trainer(config, fresh_learner(config, stream), stream, device)
    for _ in range(WARM_UP):
        trial.advance()
    began, seconds, timed = clock(), 0.0, 0
    while timed < 3 or (seconds < TIMED * 60 * config.minutes and timed < 100):
        trial.advance()
        timed += 1
        seconds = clock() - began
        if group.size > 1 and timed == 3:
            break  # every process must take the same number of steps
    steps = max(1, math.floor(60 * config.minutes * timed / seconds))
    shared = group.broadcast(str(steps).encode(), device)
    return int(shared or steps)


def start(
    config: Train, folder: RunFolder, bar: ExitStack, stack: ExitStack, done: int
) -> tuple[Logger, ...]:
    """Record the settings and open the loggers, closed with `stack`, and a progress bar."""
    require_loggers(config.log)
    settings = record(replace(config, resume=False, overwrite=False))
    if config.resume:
        # First, so that an old result never stands beside new settings.
        folder.result.unlink(missing_ok=True)
        write_json(folder.config, settings)
        folder.complete()
    else:
        folder.start(settings)
    report = bar.enter_context(progress(config.run_name, config.steps, done))
    loggers: list[Logger] = [JsonLines(folder.metrics), ProgressBar(report)]
    loggers += requested_loggers(
        config.log, folder.root, config.run_name, settings, config.wandb_mode
    )
    for logger in loggers:
        stack.callback(logger.close)
    return tuple(loggers)
