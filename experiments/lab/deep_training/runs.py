"""A run is a folder: a checkpoint after every epoch, and a result once it is over."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from experiments.lab.deep_training.images import load_images
from experiments.lab.deep_training.trainer import Settings, Trainer
from experiments.lab.runs.run_folder import read_json, write_json
from experiments.lab.settings.registry import ConfigError
from metaplastic.support.disk import write_atomically
from metaplastic.support.seeding import seeded

RESULT, CHECKPOINT, ANGLES = "result.json", "checkpoint.pt", "angles.csv"
Result = dict[str, Any]


def train_run(
    settings: Settings, folder: Path, root: str | None, say: Callable[[str], None]
) -> Result:
    """The result of a run: read, if it is there; else the run is resumed.

    `say` is called with a short text after every epoch.

    Raises:
        ConfigError: if the folder holds a run of other settings, or one that cannot be read.
    """
    if (path := folder / RESULT).exists():
        found = read_json(path, "delete it to train again")
        _refuse_another(found["settings"], settings, folder)
        return found
    trainer = Trainer(settings, _data(settings, root))
    if (path := folder / CHECKPOINT).exists():
        state = _read(path)
        _refuse_another(state["settings"], settings, folder)
        trainer.restore(state)
    while not trainer.finished:
        trainer.epoch()
        content = io.BytesIO()
        torch.save({"settings": asdict(settings), **trainer.state()}, content)
        write_atomically(folder / CHECKPOINT, content.getvalue())
        trainer.angles.to_csv(folder / ANGLES)
        last = trainer.epochs[-1]
        say(f"loss {last['loss']:.3f}, accuracy {last['accuracy']:.1f} %")
    result = {
        "settings": asdict(settings),
        "accuracy": trainer.epochs[-1]["accuracy"],
        "minutes": sum(epoch["seconds"] for epoch in trainer.epochs) / 60,
        "diverged": trainer.diverged,
        "epochs": trainer.epochs,
        "angles": trainer.angles.rows,
    }
    write_json(folder / RESULT, result)
    return result


def finished(folder: Path) -> Result | None:
    """The result that lies in a folder, if one does."""
    path = folder / RESULT
    return read_json(path, "delete it to train again") if path.exists() else None


def epochs_in(settings: Settings, folder: Path, root: str | None, minutes: float) -> int:
    """The number of epochs that fit into so many minutes of training; at least one.

    A run that has begun keeps its number. For a new one a few minibatches are timed on a copy; on
    one thread CPU time is measured.
    """
    for name, read in ((RESULT, _result_settings), (CHECKPOINT, _checkpoint_settings)):
        if (folder / name).exists():
            return int(read(folder / name)["epochs"])
    data = _data(settings, root)
    trainer = Trainer(replace(settings, epochs=1), data)
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    generator = seeded("timing", settings.seed)
    seconds = []
    for _ in range(8):
        rows = torch.randint(len(data.x), (min(settings.batch, len(data.x)),), generator=generator)
        began = clock()
        trainer.step(rows, 0, generator)
        seconds.append(clock() - began)
    timed = seconds[2:]  # the first ones are slower
    return max(1, math.floor(60 * minutes * len(timed) / sum(timed) / trainer.steps_an_epoch))


def _data(settings: Settings, root: str | None) -> Any:
    return load_images(settings.data_set, root, settings.examples, settings.held_out)


def _result_settings(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(path, "delete it to train again")["settings"]
    return found


def _checkpoint_settings(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = _read(path)["settings"]
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = torch.load(path, weights_only=True)
    except Exception as error:  # the reader has no exception of its own for damaged bytes
        raise ConfigError(
            f"{path} cannot be read ({type(error).__name__}): delete it to begin this run again."
        ) from error
    return found


def _refuse_another(recorded: dict[str, Any], settings: Settings, folder: Path) -> None:
    wanted = asdict(settings)
    differ = [name for name in wanted if recorded.get(name) != wanted[name]]
    if differ:
        name = differ[0]
        raise ConfigError(
            f"{folder} holds a run with {name} {recorded.get(name)!r}, and {wanted[name]!r} is "
            "requested: choose another --out."
        )
