"""The outer loop: meta-training of a learner on a stream, with checkpoints.

The state of a run is the learner, the optimizer, the schedule and two counters; random numbers
depend on (seed, meta-step). So a run that is killed and resumed ends with the same parameters,
bitwise, and the same metrics as one that was not interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils import clip_grads_with_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from metaplastic.episode import Episode, TaskStream
from metaplastic.outer import checkpoint
from metaplastic.outer.buffers import Buffers
from metaplastic.outer.distributed import current_group, micro_batches
from metaplastic.outer.divergence import DivergenceError, diagnose, stop_or_warn
from metaplastic.outer.identity import identity
from metaplastic.outer.loggers import Logger, log_to, rewind, sync
from metaplastic.outer.meta_gradient import MetaGradient, meta_gradient, meta_loss
from metaplastic.outer.run_state import RunState
from metaplastic.outer.sampling_ahead import SamplingAhead, sampler
from metaplastic.support.renamed import renamed_arguments
from metaplastic.support.seeding import derive, global_seed, seeded

if TYPE_CHECKING:
    from metaplastic.inner.learner import OnlineLearner
    from metaplastic.outer.trainer_config import TrainerConfig

Record = dict[str, float | int | str]


class MetaTrainer:
    """Meta-trains `learner` on `stream`.

    Args:
        folder: folder of checkpoints; with None there are none, and the run cannot be resumed.
        loggers: loggers of metrics, used by the main process; the caller closes them.
        validation: a stream of held-out lifetimes; the same lifetimes at every validation.
        device: device to compute on; by default that of the learner.
        extra_metrics: further metrics of the learner, computed whenever metrics are logged.
        sample_ahead: sample the next meta-batch in a thread while a meta-step is taken; the run is
            the same. None: on an accelerator, if the stream draws from its generator alone.

    Raises:
        ValueError: for `sample_ahead` on a stream that seeds the generators of the whole program.
    """

    @renamed_arguments(sinks="loggers", observe="extra_metrics")
    def __init__(
        self,
        learner: OnlineLearner,
        stream: TaskStream,
        optimizer: Optimizer,
        config: TrainerConfig,
        schedule: LRScheduler | None = None,
        folder: str | Path | None = None,
        loggers: Sequence[Logger] = (),
        validation: TaskStream | None = None,
        device: torch.device | str | None = None,
        extra_metrics: Callable[[OnlineLearner], Mapping[str, float]] | None = None,
        sample_ahead: bool | None = None,
    ) -> None:
        self.learner, self.stream, self.optimizer = learner, stream, optimizer
        self.config, self.validation = config, validation
        self.folder = None if folder is None else Path(folder)
        self.loggers, self.extra_metrics = tuple(loggers), extra_metrics
        self.group = current_group()
        self.parts = micro_batches(self.group, config.tasks, config.micro_batch, "tasks")
        self.validation_parts = 0
        if validation is not None:
            self.validation_parts = micro_batches(
                self.group, config.validation_tasks, config.micro_batch, "validation_tasks"
            )
        elif config.validate_every is not None:
            raise ValueError(
                "validate_every needs a stream of held-out lifetimes; pass validation=."
            )
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.device = torch.device(device) if device is not None else self.parameters[0].device
        learner.to(self.device)
        self.state, self.checked = RunState(learner, optimizer, schedule), False
        self.sample = sampler(stream, config, self.device, sample_ahead)

    @property
    def step(self) -> int:
        """Meta-steps done."""
        return self.state.step

    def fit(self) -> None:
        """Take meta-steps until `config.steps` are done, with a checkpoint at the end.

        Raises:
            DivergenceError: as configured; the learner is as it was before that meta-step.
            CheckpointError: if the folder already holds a run.
            DiskFullError: if a checkpoint or the metrics do not fit; earlier ones are intact.
        """
        if self.step == 0 and self.folder and self.group.main and checkpoint.found(self.folder):
            raise checkpoint.CheckpointError(
                f"{self.folder} already holds the checkpoints of a run. "
                "Call resume() to continue it, or choose another folder."
            )
        self._run()

    def restore(self) -> None:
        """Restore the newest intact checkpoint, if there is one.

        Raises:
            CheckpointError: if all are damaged, or the checkpoint is of another run; the message
                names what differs.
        """
        if self.folder is None:
            raise checkpoint.CheckpointError(
                "A run without a folder cannot be resumed; pass folder= to the trainer."
            )
        newest = checkpoint.latest(self.folder) if self.group.main else None
        content = self.group.broadcast(newest[1] if newest else None, self.device)
        if content is not None:
            saved = checkpoint.unpack(content, str(self.folder))
            self.state.unpack(saved, self._identity())

    def resume(self) -> None:
        """Restore, remove metrics logged after the checkpoint, and continue as `fit` does.

        Raises:
            CheckpointError: as `restore`, before anything is written.
        """
        self.restore()
        if self.group.main:
            rewind(self.loggers, self.step)
        self._run()

    def advance(self) -> Record:
        """Take one meta-step, log it if it is due, and return its metrics."""
        config, began = self.config, time.perf_counter()
        episodes = self.sample(self.step)
        sampling = time.perf_counter() - began
        if not self.checked:  # once: reading the spec may be slow
            self.stream.spec.check(episodes)
            self.checked = True
        if self.device.type != "cpu":
            self.learner.check_labels(episodes)
        episodes = episodes.to(self.device)

        self.learner.train()
        buffers = Buffers(self.learner)
        seed = (config.seed, self.step)
        result = meta_gradient(
            self.learner, episodes, self.parameters, self.parts, seed, self.group
        )
        if self.group.size > 1:
            buffers.require_unchanged()
        usable, metrics, norm = result.read(config.loss_limit)  # all that waits for the device
        record: Record = {**metrics}
        if usable:
            record["gradient_norm"] = norm
            self._update(result)
        else:
            self._reject(result, episodes, buffers, record)
        self.state.count(used=usable)

        seconds = time.perf_counter() - began
        record["seconds"] = seconds
        record["sampling_share"] = sampling / seconds
        record["episodes_per_second"] = config.tasks / seconds
        if validated := self._due(config.validate_every):
            record |= self.validate()
        if self._due(config.log_every) or validated or not usable:
            self._log(self.step, record)
        return record

    def validate(self) -> Record:
        """Loss and accuracy on `config.validation_tasks` held-out lifetimes, the same each time."""
        assert self.validation is not None  # checked at construction
        seed = derive(self.config.seed, "validation")
        episodes = self.validation.sample(self.config.validation_tasks, seeded(seed, 0))
        if self.device.type != "cpu":
            self.learner.check_labels(episodes)
        self.learner.eval()
        loss, accuracy = meta_loss(
            self.learner, episodes.to(self.device), self.validation_parts, (seed, 0), self.group
        )
        self.learner.train()
        found: Record = {"validation_loss": loss}
        return found if accuracy is None else found | {"validation_accuracy": accuracy}

    def _run(self) -> None:
        self.group.align(self.learner)
        try:
            while self.step < self.config.steps:
                self.advance()
                if self._due(self.config.save_every):
                    self._save()
        except DivergenceError:
            self._save()
            raise
        finally:
            if isinstance(self.sample, SamplingAhead):
                self.sample.close()

    def _update(self, result: MetaGradient) -> None:
        for parameter, gradient in zip(self.parameters, result.gradients, strict=True):
            parameter.grad = gradient
        if self.config.clip is not None:
            clip_grads_with_norm_(self.parameters, self.config.clip, result.norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _reject(
        self, result: MetaGradient, episodes: Episode, buffers: Buffers, record: Record
    ) -> None:
        config, size = self.config, self.config.tasks // self.parts
        with global_seed(self.device, config.seed, self.step, "blame"):
            cause = diagnose(self.learner, episodes, result, size, config.loss_limit, self.step)
        buffers.restore()
        record |= cause.metrics()
        in_a_row = self.state.skipped + 1
        try:
            stop_or_warn(cause, config.on_divergence, in_a_row, config.max_skipped, self.group.main)
        except DivergenceError:
            self._log(self.step + 1, record)
            raise

    def _due(self, every: int | None) -> bool:
        return every is not None and (self.step % every == 0 or self.step == self.config.steps)

    def _log(self, step: int, record: Record) -> None:
        if self.group.main and self.loggers:
            extra = {} if self.extra_metrics is None else self.extra_metrics(self.learner)
            log_to(self.loggers, step, {**record, **extra})

    def _identity(self) -> dict[str, Any]:
        streams = (self.stream, self.validation)
        return identity(self.config, self.learner, streams, self.optimizer, self.state.schedule)

    def _save(self) -> None:
        if self.folder is not None and self.group.main:
            sync(self.loggers)
            checkpoint.save(self.folder, self.step, self.state.pack(self._identity()))
