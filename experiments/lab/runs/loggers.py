"""Sinks of other packages, for `--log`: imported only when asked for."""

from __future__ import annotations

import os
import uuid
from importlib import import_module
from pathlib import Path
from typing import Any

from experiments.lab.settings.registry import ConfigError
from metaplastic.outer.loggers import Metrics, Sink
from metaplastic.support.disk import write_atomically

MODULES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}


class TensorBoard:
    """Scalars for `tensorboard --logdir runs`."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.writer = needed("tensorboard").SummaryWriter(self.folder)

    def log(self, step: int, metrics: Metrics) -> None:
        for name, value in metrics.items():
            if not isinstance(value, str):
                self.writer.add_scalar(name, value, step)

    def rewind(self, step: int) -> None:
        # Its files can only grow: a note in the next one says from where on to forget the others.
        self.writer.close()
        purged = step + 1
        self.writer = needed("tensorboard").SummaryWriter(self.folder, purge_step=purged)

    def sync(self) -> None:
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class WandB:
    """Weights & Biases. Offline, a run stays in its folder until the user calls `wandb sync`.

    It keeps one identity, in `wandb-id.txt`, however often it is resumed. What it was told cannot
    be taken back: of a step that is lived twice the first account stands.
    """

    def __init__(self, folder: Path, name: str, config: dict[str, Any], mode: str) -> None:
        if mode == "offline":
            # The package reports its own crashes over the network, whatever the mode of the run.
            os.environ["WANDB_ERROR_REPORTING"] = "false"
        wandb = needed("wandb")
        identity = folder / "wandb-id.txt"
        if not identity.exists():
            write_atomically(identity, uuid.uuid4().hex.encode())
        self.run = wandb.init(
            project="metaplastic",
            id=identity.read_text(encoding="ascii"),
            resume="allow",
            name=name,
            config=config,
            dir=str(folder),
            mode=mode,
            settings=wandb.Settings(silent=True),
        )

    def log(self, step: int, metrics: Metrics) -> None:
        self.run.log(dict(metrics), step=step)

    def close(self) -> None:
        self.run.finish()


def needed(package: str) -> Any:
    """An optional package, or how to get it."""
    try:
        return import_module(MODULES[package])
    except ImportError as error:
        raise ConfigError(
            f"--log {package} needs a package that is not installed ({error}): "
            f"pip install {package}, or leave the flag out."
        ) from error


def require_loggers(names: tuple[str, ...]) -> None:
    """Refuse `--log` while nothing has been written yet."""
    for name in names:
        needed(name)


def extra_sinks(
    names: tuple[str, ...], folder: Path, name: str, config: dict[str, Any], wandb_mode: str
) -> list[Sink]:
    """The sinks that `--log` asks for."""
    sinks: list[Sink] = []
    if "tensorboard" in names:
        sinks.append(TensorBoard(folder / "tensorboard"))
    if "wandb" in names:
        sinks.append(WandB(folder, name, config, wandb_mode))
    return sinks
