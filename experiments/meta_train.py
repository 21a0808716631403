"""Meta-train a method on a task stream and save the rule it found.

    python -m experiments.meta_train --method flp --task sines --order incremental --minutes 5

Writes a run folder with the rule, plots and all settings; `--resume` continues one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from experiments.lab.runs.run_folder import RunFolder
from experiments.lab.settings import cli
from experiments.lab.settings.config import Train, preset, record, restore
from experiments.lab.settings.registry import ConfigError

# Settings that may change on resuming; the trainer checks those that affect learning.
FREE = (
    "resume", "overwrite", "log", "wandb_mode", "runs", "data", "debug",
    "steps", "on_divergence", "max_skipped", "log_every", "save_every", "episodes",
)  # fmt: skip


def main(argv: Sequence[str]) -> None:
    config = cli.parse(Train, argv, preset(Train, argv))
    if config.resume:
        config = resumed(config, argv)
    from experiments.lab.runs.training import (
        meta_train,  # torch only loads once there is work to do
    )

    meta_train(config)


def resumed(config: Train, argv: Sequence[str]) -> Train:
    """The recorded settings of the run that `config` names; others are an error."""
    folder = RunFolder(config.runs / config.run_name)
    recorded = restore(Train, folder.recorded(), folder.config)
    default = replace(recorded, resume=True, overwrite=False, runs=config.runs)
    config = cli.parse(Train, argv, default)
    before, now = record(default), record(config)
    for name, value in before.items():
        if now[name] != value and name not in FREE:
            raise ConfigError(
                f"{cli.flag(name)} is {now[name]!r}, but the run in {folder.root} was started "
                f"with {value!r}: omit the flag, or start a run with another --name."
            )
    return config


if __name__ == "__main__":
    cli.run(main, again="the same command with --resume resumes.")
