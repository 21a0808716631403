"""A command of ours as a job: what submitit pickles, runs and, after a preemption, runs again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from experiments.lab.runs.parent import end_with
from experiments.lab.settings import cli

RESUMED_BY_FLAG = ("meta_train", "discover")  # the other commands go on by themselves


@dataclass(frozen=True)
class Command:
    """`python -m experiments.NAME WORDS` in every process of a job."""

    name: str
    words: tuple[str, ...] = ()
    local: bool = False  # a job of this machine ends with the process that controls it

    def __call__(self) -> str | None:
        """Run the command; the sentence of an error, or None."""
        from submitit import JobEnvironment
        from submitit.helpers import TorchDistributedEnvironment

        if self.local:
            end_with(os.getppid())
        if JobEnvironment().num_tasks > 1:
            TorchDistributedEnvironment().export(overwrite=True)  # what torchrun would set
        try:
            import_module(f"experiments.{self.name}").main(list(self.words))
        except Exception as error:
            if "--debug" in self.words:
                raise
            return cli.sentence(error)
        except SystemExit as end:
            return None if not end.code else f"it ended with status {end.code}"
        return None

    def checkpoint(self, *_: Any) -> Any:
        """The job to queue after a preemption: the same, which resumes."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Command(self.name, self.resuming(), self.local))

    def resuming(self) -> tuple[str, ...]:
        """The words by which the command goes on with what it has begun."""
        if self.name not in RESUMED_BY_FLAG or "--resume" in self.words or not self._begun():
            return self.words
        return (*(word for word in self.words if word != "--overwrite"), "--resume")

    def _begun(self) -> bool:
        """Whether a meta-training has left something to resume."""
        if self.name != "meta_train":
            return True
        from experiments.lab.runs.run_folder import RunFolder
        from experiments.lab.settings.config import Train, preset

        run = cli.parse(Train, self.words, preset(Train, self.words))
        return RunFolder(run.runs / run.run_name).config.is_file()
