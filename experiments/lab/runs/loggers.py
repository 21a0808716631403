"""Loggers of the lab: a progress bar, and TensorBoard and Weights & Biases for `--log`.

The packages of the latter two are imported only if requested.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from experiments.lab.runs.progress import Report
from experiments.lab.settings.registry import ConfigError
from metaplastic.outer.loggers import Logger, Metrics
from metaplastic.support.disk import write_atomically

MODULES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}


class ProgressBar:
    """A logger that advances a progress bar."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def log(self, step: int, metrics: Metrics) -> None:
        shown = [f"{key} {metrics[key]:.4g}" for key in ("loss", "accuracy") if key in metrics]
        self.report(step, " ".join(shown))

    def close(self) -> None:
        pass


class TensorBoard:
    """A logger of scalars for `tensorboard --logdir runs`."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.writer = needed("tensorboard").SummaryWriter(self.folder)

    def log(self, step: int, metrics: Metrics) -> None:
        for name, value in metrics.items():
            if not isinstance(value, str):
                self.writer.add_scalar(name, value, step)

    def log_files(self, step: int, files: Mapping[str, Path]) -> None:
        """Figures as images and texts as such; it has no place for a rule file."""
        from matplotlib.image import imread

        for name, path in files.items():
            if path.suffix == ".png":
                self.writer.add_image(name, imread(path), step, dataformats="HWC")
            elif path.suffix == ".md":
                self.writer.add_text(name, path.read_text(encoding="utf-8"), step)

    def rewind(self, step: int) -> None:
        # Its files are append-only; purge_step in the next one invalidates later steps.
        self.writer.close()
        summary_writer = needed("tensorboard").SummaryWriter
        self.writer = summary_writer(self.folder, purge_step=step + 1)

    def sync(self) -> None:
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class WandB:
    """A logger to Weights & Biases. Offline, a run stays in its folder until `wandb sync`.

    A run keeps its id, in `wandb-id.txt`, when it is resumed. Records cannot be removed: for a step
    that is logged twice, the first record remains.
    """

    def __init__(self, folder: Path, name: str, config: dict[str, Any], mode: str) -> None:
        if mode == "offline":
            # wandb reports its own crashes over the network in every mode.
            os.environ["WANDB_ERROR_REPORTING"] = "false"
        wandb, self.name = needed("wandb"), name
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

    def log_files(self, step: int, files: Mapping[str, Path]) -> None:
        """Figures as images, and all as artifacts: the figures, the card, the rule file."""
        wandb = needed("wandb")
        figures = {name: path for name, path in files.items() if path.suffix == ".png"}
        self.run.log({name: wandb.Image(str(path)) for name, path in figures.items()}, step=step)
        kinds = {"figures": figures} | {
            name: {name: path} for name, path in files.items() if name not in figures
        }
        label = re.sub(r"[^\w.-]", "-", self.name)
        for kind, of_kind in kinds.items():
            artifact = wandb.Artifact(f"{label}-{kind}", type=kind)
            for path in of_kind.values():
                add = artifact.add_dir if path.is_dir() else artifact.add_file
                add(str(path))
            self.run.log_artifact(artifact)

    def close(self) -> None:
        self.run.finish()


def needed(package: str) -> Any:
    """The module of an optional package."""
    try:
        return import_module(MODULES[package])
    except ImportError as error:
        raise ConfigError(
            f"--log {package} needs a package that is not installed ({error}): "
            f"pip install {package}, or omit the option."
        ) from error


def require_loggers(names: tuple[str, ...]) -> None:
    """Raise ConfigError unless the packages of `--log` are installed."""
    for name in names:
        needed(name)


def requested_loggers(
    names: tuple[str, ...], folder: Path, name: str, config: dict[str, Any], wandb_mode: str
) -> list[Logger]:
    """The loggers that `--log` names."""
    loggers: list[Logger] = []
    if "tensorboard" in names:
        loggers.append(TensorBoard(folder / "tensorboard"))
    if "wandb" in names:
        loggers.append(WandB(folder, name, config, wandb_mode))
    return loggers
