"""What `meta_train` does once its settings are known: build a learner and meta-train it."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

from experiments.lab.networks.build import build_learner, build_rates, build_stream, require_device
from experiments.lab.runs.loggers import extra_sinks, require_loggers
from experiments.lab.runs.outcome import finish
from experiments.lab.runs.progress import Report, progress
from experiments.lab.runs.rule_statistics import rule_statistics
from experiments.lab.runs.run_folder import RunFolder, write_json
from experiments.lab.runs.run_lock import alone_in
from experiments.lab.settings.config import Train, record
from experiments.lab.settings.resolved import resolved
from metaplastic import OnlineLearner, TaskStream, Unroll
from metaplastic.outer.distributed import World, joined
from metaplastic.outer.loggers import JsonLines, Metrics, Sink
from metaplastic.outer.optimizer import make_optimizer, make_schedule
from metaplastic.outer.trainer import MetaTrainer
from metaplastic.outer.trainer_config import TrainerConfig
from metaplastic.support.seeding import global_seed

WARM_UP = 2  # meta-steps that are slower than those after them
TIMED = 0.03  # of the minutes asked for


class Progress:
    """A sink that moves a progress bar."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def log(self, step: int, metrics: Metrics) -> None:
        known = [f"{key} {metrics[key]:.4g}" for key in ("loss", "accuracy") if key in metrics]
        self.report(step, " ".join(known))

    def close(self) -> None:
        pass


def meta_train(config: Train) -> None:
    """Do what a `meta_train` command line says, in every process that `torchrun` started."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    require_device(config.device)
    with joined(config.device) as (world, device), ExitStack() as stack, ExitStack() as sinks:
        if world.size > 1 and config.micro_batch is None and not config.resume:
            # The run is then the same, to the bit, on any number of processes that divides this.
            config = replace(config, micro_batch=max(1, config.tasks // world.size))
        stream = build_stream(config, "train")
        folder = RunFolder(config.runs / config.run_name)
        if world.main:
            stack.enter_context(alone_in(folder.root))
            if not config.resume:
                folder.refuse(config.overwrite)
        if config.minutes is not None and not config.resume:
            config = replace(config, steps=steps_in(config, stream, world, device))
        learner = fresh_learner(config, stream)
        trainer = make_trainer(config, learner, stream, device, folder)
        if config.resume:
            trainer.restore()
        if world.main:  # nothing is written before all of it is known to fit together
            found = resolved(config, learner, stream)
            trainer.sinks = start(config, folder, sinks, trainer.step)
            write_json(folder.resolved, found)
        if config.resume:  # `fit` would refuse a run that stopped at its first meta-step
            trainer.resume()
        else:
            trainer.fit()
        if world.main:
            sinks.close()  # the last metrics are on the disk, the bar is off the screen
            finish(config, folder, learner, stream)


def fresh_learner(config: Train, stream: TaskStream) -> OnlineLearner:
    """The learner before its first meta-step; the same for the same seed."""
    with global_seed(torch.device("cpu"), "learner", config.seed):
        learner = build_learner(config, stream)
    how = (config.checkpoint_every, config.truncate, config.compile, config.precision)
    learner.unroll = Unroll(*how, learner.unroll.both_ways)  # which is the method's choice
    return learner


def make_trainer(
    config: Train,
    learner: OnlineLearner,
    stream: TaskStream,
    device: torch.device,
    folder: RunFolder | None = None,
) -> MetaTrainer:
    """The outer loop of a config; without a folder it leaves nothing behind."""
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
        observe=rule_statistics,
    )


def steps_in(config: Train, stream: TaskStream, world: World, device: torch.device) -> int:
    """How many meta-steps fit into `config.minutes`, from timing a few on a learner thrown away.

    The number is recorded as the run's `steps`, so the run itself does not depend on the clock.
    On one thread it is the processor's time that counts: runs beside each other, or beside other
    work, are then given as much as they would have had alone.
    """
    assert config.minutes is not None
    alone = device.type == "cpu" and world.size == 1 and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    trial = make_trainer(config, fresh_learner(config, stream), stream, device)
    for _ in range(WARM_UP):
        trial.advance()
    began, seconds, timed = clock(), 0.0, 0
    while timed < 3 or (seconds < TIMED * 60 * config.minutes and timed < 100):
        trial.advance()
        timed += 1
        seconds = clock() - began
        if world.size > 1 and timed == 3:
            break  # every process must take the same number of steps
    steps = max(1, math.floor(60 * config.minutes * timed / seconds))
    agreed = world.broadcast(str(steps).encode(), device)
    return int(agreed or steps)


def start(config: Train, folder: RunFolder, stack: ExitStack, done: int) -> tuple[Sink, ...]:
    """Record the settings and open the sinks; they are closed with `stack`."""
    require_loggers(config.log)
    settings = record(replace(config, resume=False, overwrite=False))
    if config.resume:
        # First, because a result without its settings would pass for that of the new ones.
        folder.result.unlink(missing_ok=True)
        write_json(folder.config, settings)
        folder.complete()
    else:
        folder.start(settings)
    report = stack.enter_context(progress(config.run_name, config.steps, done))
    sinks: list[Sink] = [JsonLines(folder.metrics), Progress(report)]
    sinks += extra_sinks(config.log, folder.root, config.run_name, settings, config.wandb_mode)
    for sink in sinks:
        stack.callback(sink.close)
    return tuple(sinks)
