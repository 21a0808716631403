"""The outer loop: meta-train a learner on a stream, without losing work or telling lies.

All state is the learner, the optimizer, the schedule and two counters; all randomness comes from
(seed, meta-step). So a checkpoint is complete, and a run that is killed and resumed ends with the
parameters, to the bit, and the metrics of one that was not.
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
from metaplastic.outer.distributed import current_world, micro_batches
from metaplastic.outer.divergence import DivergenceError, blame, is_usable, stop_or_warn
from metaplastic.outer.identity import identity
from metaplastic.outer.loggers import Sink, log_to, rewind, sync
from metaplastic.outer.meta_gradient import MetaGradient, meta_gradient, meta_loss
from metaplastic.outer.run_state import RunState
from metaplastic.support.seeding import derive, global_seed, seeded

if TYPE_CHECKING:
    from metaplastic.inner.learner import OnlineLearner
    from metaplastic.outer.trainer_config import TrainerConfig

Record = dict[str, float | int | str]


class MetaTrainer:
    """Meta-trains `learner` on `stream`.

    Args:
        folder: where checkpoints go; None keeps none, and then there is nothing to resume.
        sinks: where metrics go; only the main process uses them. They are the caller's to close.
        validation: a stream of held-out lifetimes; the same ones at every validation.
        device: where to compute; by default where the learner is.
        observe: further metrics of the learner itself, asked for whenever metrics are logged.
    """

    def __init__(
        self,
        learner: OnlineLearner,
        stream: TaskStream,
        optimizer: Optimizer,
        config: TrainerConfig,
        schedule: LRScheduler | None = None,
        folder: str | Path | None = None,
        sinks: Sequence[Sink] = (),
        validation: TaskStream | None = None,
        device: torch.device | str | None = None,
        observe: Callable[[OnlineLearner], Mapping[str, float]] | None = None,
    ) -> None:
        self.learner, self.stream, self.optimizer = learner, stream, optimizer
        self.config, self.validation = config, validation
        self.folder = None if folder is None else Path(folder)
        self.sinks, self.observe = tuple(sinks), observe
        self.world = current_world()
        self.parts = micro_batches(self.world, config.tasks, config.micro_batch, "tasks")
        self.validation_parts = 0
        if validation is not None:
            self.validation_parts = micro_batches(
                self.world, config.validation_tasks, config.micro_batch, "validation_tasks"
            )
        elif config.validate_every is not None:
            raise ValueError("validate_every needs a stream of held-out lifetimes: validation=.")
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.device = torch.device(device) if device is not None else self.parameters[0].device
        learner.to(self.device)
        self.state, self.checked = RunState(learner, optimizer, schedule), False

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
        if self.step == 0 and self.folder and self.world.main and checkpoint.found(self.folder):
            raise checkpoint.CheckpointError(
                f"{self.folder} already holds the checkpoints of a run. "
                "Call resume() to go on with it, or choose another folder."
            )
        self._run()

    def restore(self) -> None:
        """Become what the newest whole checkpoint says, or stay at the start if there is none.

        Raises:
            CheckpointError: if all are damaged, or were written by a run that is not this one;
                the message names what differs.
        """
        if self.folder is None:
            raise checkpoint.CheckpointError(
                "There is nothing to resume without a folder; pass folder= to the trainer."
            )
        newest = checkpoint.latest(self.folder) if self.world.main else None
        content = self.world.broadcast(newest[1] if newest else None, self.device)
        if content is not None:
            saved = checkpoint.unpack(content, str(self.folder))
            self.state.unpack(saved, self._identity())

    def resume(self) -> None:
        """Restore, cut the metrics back to the checkpoint, and go on as `fit` does.

        Raises:
            CheckpointError: as `restore`; nothing is written then.
        """
        self.restore()
        if self.world.main:
            rewind(self.sinks, self.step)
        self._run()

    def advance(self) -> Record:
        """Take one meta-step, log it if that is due, and return its metrics."""
        config, began = self.config, time.perf_counter()
        episodes = self.stream.sample(config.tasks, seeded(config.seed, self.step))
        sampling = time.perf_counter() - began
        if not self.checked:  # once is enough, and reading the spec may take its time
            self.stream.spec.check(episodes)
            self.checked = True
        episodes = episodes.to(self.device)

        self.learner.train()
        buffers = Buffers(self.learner)
        seed = (config.seed, self.step)
        result = meta_gradient(
            self.learner, episodes, self.parameters, self.parts, seed, self.world
        )
        if self.world.size > 1:
            buffers.require_unchanged()
        record: Record = {**result.metrics()}

        if usable := is_usable(result, config.loss_limit):
            record["gradient_norm"] = float(result.norm)
            self._update(result)
        else:
            self._refuse(result, episodes, buffers, record)
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
        """Loss and accuracy on `config.validation_tasks` held-out lifetimes, always the same."""
        assert self.validation is not None  # checked at construction
        seed = derive(self.config.seed, "validation")
        episodes = self.validation.sample(self.config.validation_tasks, seeded(seed, 0))
        self.learner.eval()
        loss, accuracy = meta_loss(
            self.learner, episodes.to(self.device), self.validation_parts, (seed, 0), self.world
        )
        self.learner.train()
        found: Record = {"validation_loss": loss}
        return found if accuracy is None else found | {"validation_accuracy": accuracy}

    def _run(self) -> None:
        self.world.align(self.learner)
        try:
            while self.step < self.config.steps:
                self.advance()
                if self._due(self.config.save_every):
                    self._save()
        except DivergenceError:
            self._save()
            raise

    def _update(self, result: MetaGradient) -> None:
        for parameter, gradient in zip(self.parameters, result.gradients, strict=True):
            parameter.grad = gradient
        if self.config.clip is not None:
            clip_grads_with_norm_(self.parameters, self.config.clip, result.norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _refuse(
        self, result: MetaGradient, episodes: Episode, buffers: Buffers, record: Record
    ) -> None:
        config, size = self.config, self.config.tasks // self.parts
        with global_seed(self.device, config.seed, self.step, "blame"):
            cause = blame(self.learner, episodes, result, size, config.loss_limit, self.step)
        buffers.restore()
        record |= cause.metrics()
        in_a_row = self.state.skipped + 1
        try:
            stop_or_warn(cause, config.on_divergence, in_a_row, config.max_skipped, self.world.main)
        except DivergenceError:
            self._log(self.step + 1, record)
            raise

    def _due(self, every: int | None) -> bool:
        return every is not None and (self.step % every == 0 or self.step == self.config.steps)

    def _log(self, step: int, record: Record) -> None:
        if self.world.main and self.sinks:
            seen = self.observe(self.learner) if self.observe is not None else {}
            log_to(self.sinks, step, {**record, **seen})

    def _identity(self) -> dict[str, Any]:
        streams = (self.stream, self.validation)
        return identity(self.config, self.learner, streams, self.optimizer, self.state.schedule)

    def _save(self) -> None:
        if self.folder is not None and self.world.main:
            sync(self.sinks)
            checkpoint.save(self.folder, self.step, self.state.pack(self._identity()))
