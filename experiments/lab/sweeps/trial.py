"""One trial of a sweep: a meta-training that is evaluated on the way and may be ended early."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

from optuna import TrialPruned
from optuna.trial import Trial

from experiments.lab.networks.build import build_stream, fitted
from experiments.lab.runs.evaluation import at_a_time
from experiments.lab.runs.run_folder import RunFolder
from experiments.lab.runs.sweep import held_out
from experiments.lab.runs.training import meta_train
from experiments.lab.settings.config import Train
from experiments.lab.settings.registry import ConfigError
from experiments.lab.sweeps.config import Sweep, space, trial_run
from experiments.lab.sweeps.study import first_number, suggest
from metaplastic import OnlineLearner, TaskStream
from metaplastic.evaluate.evaluation import over_lifetime
from metaplastic.evaluate.report import Measure
from metaplastic.outer.divergence import DivergenceError
from metaplastic.outer.loggers import Metrics

PARTS = 10  # of a trial, each ended by an evaluation


def validation_stream(run: Train) -> TaskStream:
    """Lifetimes of classes or functions for validation, as those of the test otherwise.

    Raises:
        ConfigError: for a task that has none.
    """
    stream = held_out(build_stream(run, "test"))
    if stream is not None:
        return stream
    try:
        return build_stream(run, "validation")
    except ValueError as error:
        raise ConfigError(
            f"task {run.task!r} has no validation split, which a sweep chooses by ({error})"
        ) from error


def measure_of(stream: TaskStream) -> Measure:
    return "accuracy" if stream.spec.kind == "classification" else "error"


class Reporter:
    """A logger that evaluates the learner at times, for Optuna, which may end the trial."""

    def __init__(
        self, trial: Trial, config: Sweep, run: Train, learner: OnlineLearner, stream: TaskStream
    ) -> None:
        self.trial, self.config, self.run = trial, config, run
        self.learner, self.stream = learner, stream
        self.every = config.validate_every or max(1, run.steps // PARTS)
        self.known = dict(trial.study.trials[trial.number].intermediate_values)  # if taken up again
        self.last = max(self.known, default=0)
        self.value = self.known.get(self.last, math.nan)

    def log(self, step: int, metrics: Metrics) -> None:
        if step // self.every == self.last // self.every and step < self.run.steps:
            return
        if step <= self.last:
            return  # evaluated before the trial was interrupted
        self.last, self.value = step, self.evaluate()
        if not math.isfinite(self.value):
            self.trial.set_user_attr("diverged", True)
            raise TrialPruned
        self.trial.report(self.value, step)
        if step < self.run.steps and self.trial.should_prune():
            raise TrialPruned

    def evaluate(self) -> float:
        """The mean over all queries at the end of validation lifetimes."""
        count = self.config.lifetimes
        report = over_lifetime(
            fitted(self.learner, self.stream.spec), self.stream, count, seed=self.run.seed + 1,
            snapshots=1, tasks_per_batch=min(count, at_a_time(self.stream.spec)),
        )  # fmt: skip
        return float(report.on_all(measure_of(self.stream)).mean[-1])

    def close(self) -> None:
        pass


def run_trial(trial: Trial, config: Sweep, stream: TaskStream) -> float:
    """Meta-train with suggested values; the last evaluation.

    Raises:
        TrialPruned: if it is behind others, or diverged.
    """
    values = suggest(trial, space(config.search))
    run = trial_run(config, values, f"trial-{first_number(trial):04d}")
    folder = RunFolder(config.runs / run.run_name)
    trial.set_user_attr("run", run.run_name)
    if folder.config.is_file():  # begun by a process that has ended
        run = Train(**{**vars(run), "resume": True})
    made: list[Reporter] = []

    def watch(settled: Train, learner: OnlineLearner) -> Reporter:
        made.append(Reporter(trial, config, settled, learner, stream))
        return made[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # meta-steps that are skipped: in the metrics
        try:
            meta_train(run, watch)
        except DivergenceError:
            trial.set_user_attr("diverged", True)
            raise TrialPruned from None
    return made[0].value


def finish_best(root: Path, run_name: str) -> None:
    """Evaluate the best trial's learner on test lifetimes and save its rule, once."""
    from experiments.meta_train import resumed

    folder = RunFolder(root / run_name)
    if folder.result.exists():
        return
    words = ["--runs", str(root), "--name", run_name, "--resume"]
    meta_train(resumed(Train(runs=root, name=run_name, resume=True), words))
