"""Search options, rates and settings of a method by Optuna, over processes that share a study.

    python -m experiments.sweep --search rates.weights=1e-4..1e-2:log clip=1,10 --jobs 2

Every trial is a meta-training, evaluated on validation lifetimes on the way; those behind the
others are ended early. The same command joins the sweep from another terminal, and goes on with it
after an interrupt or a kill. The learner of the best trial is evaluated on test lifetimes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from experiments.lab.settings import cli
from experiments.lab.settings.limits import require_in_range
from experiments.lab.sweeps.config import Sweep, examples, read, trial_run


def main(argv: Sequence[str]) -> None:
    config = read(argv)
    from filelock import FileLock  # what follows loads torch and Optuna

    from experiments.lab.runs.jobs import require_possible
    from experiments.lab.sweeps.report import ended, write_report
    from experiments.lab.sweeps.study import open_study
    from experiments.lab.sweeps.trial import finish_best, measure_of, validation_stream

    runs = [trial_run(config, values, "trial") for values in examples(config)]
    for run in runs:
        require_in_range(run)
    require_possible(runs)
    measure = measure_of(validation_stream(runs[0]))
    study = open_study(config, "maximize" if measure == "accuracy" else "minimize")
    work(config)
    with FileLock(config.root / ".report.lock"):  # another process may have ended with this one
        text = write_report(study, config, measure)
        best = ended(study)[0]
        if best.value is None or best.state.name != "COMPLETE":
            print(f"{text}\n\nNo trial was completed. Figures and records are in {config.root}.")
            return
        finish_best(config.runs, best.user_attrs["run"])
    print(f"{text}\n\nThe best trial is {best.user_attrs['run']}, with its rule and test result in "
          f"that folder of {config.runs}. Figures and records are in {config.root}.")  # fmt: skip


def work(config: Sweep) -> None:
    """Take trials in `--jobs` processes, each with its own view of the study."""
    if config.jobs == 1:
        take(config)
        return
    from joblib import Parallel, delayed, parallel_config

    from experiments.lab.runs.parent import end_with

    one = config if config.threads is not None else replace(config, threads=1)
    with parallel_config("loky", initializer=end_with, initargs=(os.getpid(),)):
        Parallel(config.jobs)(delayed(take)(one) for _ in range(config.jobs))


def take(config: Sweep) -> None:
    """Take trials in this process until there are enough."""
    from experiments.lab.sweeps.study import open_study, take_trials
    from experiments.lab.sweeps.trial import measure_of, run_trial, validation_stream

    stream = validation_stream(trial_run(config, examples(config)[0], "trial"))
    direction = "maximize" if measure_of(stream) == "accuracy" else "minimize"
    take_trials(open_study(config, direction), config, lambda t: run_trial(t, config, stream))


if __name__ == "__main__":
    cli.run(main, again="the same command resumes.")
