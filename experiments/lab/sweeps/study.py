"""A study of Optuna in a database that processes share, and the trials each of them takes.

A process that ends leaves its trial to the others: one that is stopped puts it back at once, and
one that is killed is missed when its heartbeat stops. A trial that is taken up again goes on from
the checkpoint of its meta-training.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import Trial, TrialState

from experiments.lab.runs.run_folder import write_json
from experiments.lab.settings.config import record
from experiments.lab.settings.registry import ConfigError
from experiments.lab.sweeps.config import FREE, Between, Space, Sweep, space
from metaplastic.support.seeding import derive

HEARTBEAT = 5  # seconds
GRACE = 30  # seconds without a heartbeat after which a process is taken to be dead
WAIT = 1.0  # seconds between two looks at the trials of other processes
COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)
OPEN = (TrialState.RUNNING, TrialState.WAITING)

optuna.logging.set_verbosity(optuna.logging.WARNING)


@contextmanager
def _quietly() -> Iterator[None]:
    """A context without the warning that heartbeats and retries, years old, may still change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


@_quietly()
def open_study(config: Sweep, direction: str) -> optuna.Study:
    """The study of a sweep, made if it is not there.

    Raises:
        ConfigError: if there is one of other settings, or its database cannot be opened.
    """
    config.root.mkdir(parents=True, exist_ok=True)
    url = config.storage or f"sqlite:///{(config.root / 'study.db').absolute()}"
    with _lock(config):
        try:
            storage = RDBStorage(
                url,
                heartbeat_interval=HEARTBEAT,
                grace_period=GRACE,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(
                    inherit_intermediate_values=True
                ),
            )
            study = optuna.create_study(
                storage=storage, study_name=config.name, direction=direction,  # type: ignore[arg-type]
                pruner=_pruner(config), load_if_exists=True,
            )  # fmt: skip
        except Exception as error:  # of as many kinds as there are databases
            said = " ".join(str(error).split())[:200]
            raise ConfigError(f"--storage {url} cannot be used ({said}).") from error
        wanted = {name: value for name, value in record(config).items() if name not in FREE}
        before = study.user_attrs.get("settings")
        if before is None:
            study.set_user_attr("settings", wanted)
            write_json(config.root / "sweep.json", wanted)
        for name, value in (before or {}).items():
            if wanted.get(name) != value:
                raise ConfigError(
                    f"{config.root} holds a sweep with {name} = {value!r}, not "
                    f"{wanted.get(name)!r}: choose another --name."
                )
    return study


@_quietly()
def take_trials(study: optuna.Study, config: Sweep, objective: Callable[[Trial], float]) -> None:
    """Take trials until all processes together have completed or pruned `config.trials`.

    Waits for those that other processes have taken, and takes up those of dead ones.
    """
    searched = space(config.search)
    while True:
        with _lock(config) as lock:
            optuna.storages.fail_stale_trials(study)
            states = [trial.state for trial in study.get_trials(deepcopy=False)]
            done, begun = (sum(s in some for s in states) for some in (COUNTED, OPEN))
            if done >= config.trials:
                return
            free = TrialState.WAITING in states or done + begun < config.trials
            if free:
                study.sampler = _sampler(config, searched, len(states))
                _take(study, objective, lock)
        if not free:
            time.sleep(WAIT)


def _take(study: optuna.Study, objective: Callable[[Trial], float], lock: FileLock) -> None:
    """Take one trial; others may take theirs as soon as this one is chosen."""
    taken: list[Trial] = []

    def chosen(trial: Trial) -> float:
        taken.append(trial)
        lock.release()
        return objective(trial)

    try:
        study.optimize(chosen, n_trials=1)
    except KeyboardInterrupt:
        for trial in taken:  # it is recorded as failed: what follows puts it back
            RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)(
                study, study.trials[trial.number]
            )
        raise


@_quietly()
def first_number(trial: Trial) -> int:
    """The number under which a trial was begun."""
    frozen = trial.study.trials[trial.number]
    number = RetryHeartbeatStaleTrialCallback.retried_trial_number(frozen)
    return trial.number if number is None else number


def suggest(trial: Trial, searched: Space) -> dict[str, Any]:
    """A value of every name of the space."""
    found: dict[str, Any] = {}
    for name, values in searched.items():
        if not isinstance(values, Between):
            found[name] = trial.suggest_categorical(name, values)
        elif values.whole:
            found[name] = trial.suggest_int(name, int(values.low), int(values.high), log=values.log)
        else:
            found[name] = trial.suggest_float(name, values.low, values.high, log=values.log)
    return found


def _lock(config: Sweep) -> FileLock:
    """One process at a time counts and chooses, so that no trial is one too many."""
    return FileLock(Path(config.root) / ".study.lock", thread_local=False)


def _sampler(config: Sweep, searched: Space, trials: int) -> optuna.samplers.BaseSampler:
    """A sampler seeded by the number of the trial, whichever process takes it."""
    seed = derive(config.seed, "sweep", trials) % 2**32
    if config.sampler == "grid":
        lists = {name: list(v) for name, v in searched.items() if isinstance(v, tuple)}
        return optuna.samplers.GridSampler(lists, seed=config.seed)
    if config.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, multivariate=True)


def _pruner(config: Sweep) -> optuna.pruners.BasePruner:
    if config.pruner == "none":
        return optuna.pruners.NopPruner()
    if config.pruner == "halving":
        return optuna.pruners.SuccessiveHalvingPruner()
    return optuna.pruners.MedianPruner(n_startup_trials=4)
