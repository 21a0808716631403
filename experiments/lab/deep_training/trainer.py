"""Training of one network by one rule, resumable after every epoch.

Every epoch has its own generator, seeded by seed and epoch, so a checkpoint holds no generator:
only weights, statistics, feedback, momentum and records.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.lab.credit_checks.networks import initialize
from experiments.lab.credit_checks.training import shuffled
from experiments.lab.deep_training.images import Images, augmented
from experiments.lab.deep_training.rules import assigned, stepped, weight_decay
from experiments.lab.networks.residual import Norm, residual, resnet18
from metaplastic import AngleLog
from metaplastic.support.seeding import derive, global_seed, seeded

MEASURED_EXAMPLES = 128  # training images on which angles are measured
PART = 256  # test images at a time
MOMENTUM = 0.9


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a run; equal settings on equal machines give bitwise equal results.

    Args:
        held_out: the share of training images used instead of the test images.
        every: minibatches between measurements of angles, besides those at both ends.
    """

    rule: str
    network: Literal["resnet20", "resnet18"]
    width: int | None
    norm: Norm
    data_set: Literal["exact", "jpeg75"]
    examples: int | None
    held_out: float
    lr: float
    batch: int
    epochs: int
    flip_crop: bool
    precision: Literal["float32", "bfloat16"]
    every: int
    seed: int


class Trainer:
    """The network, its credit assignment, its optimizer, and the records so far."""

    def __init__(self, settings: Settings, data: Images) -> None:
        self.settings, self.data = settings, data
        self.epochs: list[dict[str, Any]] = []
        self.diverged = False
        self.steps_an_epoch = -(-len(data.x) // settings.batch)
        self.model = network(settings)
        measured = self.standardized(data.x[:MEASURED_EXAMPLES])
        self.credit = assigned(
            settings.rule, self.model, measured[:2], derive("feedback", settings.seed)
        )
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            settings.lr,
            momentum=MOMENTUM,
            weight_decay=weight_decay(settings.rule),
        )
        self.angles = AngleLog(
            self.credit,
            self.model,
            measured,
            data.y[:MEASURED_EXAMPLES],
            F.cross_entropy,
            every=settings.every,
        )
        self.angles.measure(0)

    def epoch(self) -> None:
        """All training images once, in a new order; then those of the test."""
        number = len(self.epochs)
        done = number * self.steps_an_epoch
        generator = seeded("order", self.settings.seed, number)
        began, losses, measuring = time.process_time(), [], 0.0
        with global_seed(torch.device("cpu"), "rule", self.settings.seed, number):
            for rows in shuffled(len(self.data.x), self.settings.batch, generator):
                losses.append(self.step(rows, done, generator))
                if not math.isfinite(losses[-1]):
                    self.diverged = True
                    break
                done += 1
                measured_at = time.process_time()
                if done == self.settings.epochs * self.steps_an_epoch:
                    self.angles.measure(done)
                else:
                    self.angles.log(done)
                measuring += time.process_time() - measured_at
        self.epochs.append(
            {
                "epoch": number + 1,
                "loss": sum(losses) / len(losses),
                "seconds": time.process_time() - began - measuring,
                "accuracy": self.accuracy(),
            }
        )

    def step(self, rows: Tensor, done: int, generator: torch.Generator) -> float:
        """One minibatch, with a cosine schedule of the rate; returns the loss."""
        total = self.settings.epochs * self.steps_an_epoch
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.lr * (1 + math.cos(math.pi * done / total)) / 2
        pixels = self.data.x[rows]
        if self.settings.flip_crop:
            pixels = augmented(pixels, generator)
        x = self.standardized(pixels)
        self.optimizer.zero_grad()
        with self.precision():
            loss = self.credit.backward(self.model, x, self.data.y[rows], F.cross_entropy)
        self.optimizer.step()
        stepped(self.credit, self.optimizer)
        return float(loss)

    @torch.no_grad()
    def accuracy(self) -> float:
        """Percent of the test images."""
        self.model.eval()
        correct = 0
        for start in range(0, len(self.data.test_x), PART):
            rows = slice(start, start + PART)
            with self.precision():
                predictions = self.model(self.standardized(self.data.test_x[rows])).argmax(1)
            correct += int((predictions == self.data.test_y[rows]).sum())
        self.model.train()
        return 100 * correct / len(self.data.test_x)

    def standardized(self, pixels: Tensor) -> Tensor:
        """Standardized images, in the memory format that is faster for the network."""
        x = self.data.standardized(pixels)
        return x.contiguous(memory_format=order(self.settings.norm))

    def precision(self) -> torch.autocast:
        wanted = self.settings.precision == "bfloat16"
        return torch.autocast("cpu", torch.bfloat16, enabled=wanted)

    @property
    def finished(self) -> bool:
        return self.diverged or len(self.epochs) >= self.settings.epochs

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds: tensors, numbers and words."""
        return {
            "model": self.model.state_dict(),
            "credit": self.credit.state_dict(),
            "decay": self.credit.rule.alignment.options.get("decay"),
            "optimizer": self.optimizer.state_dict(),
            "epochs": self.epochs,
            "angles": self.angles.rows,
            "diverged": self.diverged,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a `state`."""
        self.model.load_state_dict(state["model"])
        self.credit.load_state_dict(state["credit"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["decay"] is not None:
            self.credit.rule.alignment.options["decay"] = state["decay"]
        self.epochs, self.diverged = copy.deepcopy(state["epochs"]), state["diverged"]
        self.angles.rows = copy.deepcopy(state["angles"])


def network(settings: Settings) -> nn.Module:
    """Weights normal, of Xavier's variance: so is the feedback."""
    model = (
        resnet18(width=settings.width or 64, norm=settings.norm)
        if settings.network == "resnet18"
        else residual(width=settings.width or 16, norm=settings.norm)
    )
    initialize(model, 1.0, derive("weights", settings.seed))
    placed: nn.Module = model.to(memory_format=order(settings.norm))  # type: ignore[call-overload]
    return placed


def order(norm: Norm) -> torch.memory_format:
    """Channels last, where convolutions are faster; but GroupNorm takes twice as long so."""
    return torch.channels_last if norm == "batch" else torch.contiguous_format
