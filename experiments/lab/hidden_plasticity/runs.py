"""A run: a method meta-trained on changed lifetimes and tested at every strength of the change."""

from __future__ import annotations

import dataclasses
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import nn

import tasks
from experiments.lab.hidden_plasticity.config import Setting, method_and_options
from experiments.lab.networks.problem import Problem
from experiments.lab.runs.stored import Run, path_of
from experiments.lab.runs.stored import stored as stored_run
from experiments.lab.runs.training import fresh_learner, make_trainer
from experiments.lab.settings.config import Train
from experiments.lab.settings.registry import ConfigError, require, split_options, typed
from metaplastic import OnlineLearner, StreamSpec, TaskStream
from metaplastic.evaluate.evaluation import few_shot
from metaplastic.support.json_values import finite
from tasks.changed_inputs import Changed

AT_A_TIME = 50  # test lifetimes


def stored(setting: Setting, seed: int, root: str | None, out: Path) -> Run:
    """The result of a run, as `runs.stored`."""
    settings = finite(asdict(setting)) | {
        "stream": list(setting.stream), "strengths": list(setting.strengths)
    }  # fmt: skip
    path = path_of(out, setting.name, seed)
    return stored_run(path, settings, lambda: measured(setting, seed, root))


def measured(setting: Setting, seed: int, root: str | None) -> Run:
    """Accuracies in percent by strength, one for each test lifetime; `skipped` meta-steps."""
    train = stream(setting, "train", 1.0 if setting.met else 0.0, root, uniform=True)
    config, learner = fresh(setting, seed, train)
    trainer = make_trainer(config, learner, train, torch.device("cpu"))
    began = time.process_time()
    with warnings.catch_warnings(record=True) as skipped:
        warnings.simplefilter("always")
        trainer.fit()
    run: Run = {"settings": asdict(setting), "seed": seed, "accuracy": {}}
    run["seconds"] = time.process_time() - began
    run["skipped"] = len(skipped)
    for strength in setting.strengths:
        report = few_shot(
            learner, stream(setting, "test", strength, root), setting.episodes,
            seed=setting.test_seed, tasks_per_batch=AT_A_TIME, minimum=setting.episodes,
        )  # fmt: skip
        assert report.accuracies is not None
        run["accuracy"][f"{strength:g}"] = (100 * report.accuracies).tolist()
    return run


def fresh(setting: Setting, seed: int, train: TaskStream) -> tuple[Train, OnlineLearner]:
    """The settings of meta-training, and the learner before it."""
    config = training(setting, seed, train.spec)
    return config, fresh_learner(config, train)


def stream(
    setting: Setting, split: str, strength: float, root: str | None, *, uniform: bool = False
) -> TaskStream:
    """The base with changed inputs.

    Raises:
        ConfigError: for an option that the base does not have, or a base of real targets.
    """
    kind = tasks.stream_class(setting.base)
    names = {field.name for field in dataclasses.fields(kind) if field.init}
    hints = get_type_hints(kind)
    given: dict[str, Any] = {"split": split}
    if root is not None and "root" in names:
        given["root"] = root
    for name, text in split_options("--stream", setting.stream).items():
        require(name, names - {"split"}, f"an option of task {setting.base!r}")
        given[name] = typed(name, text, hints[name])
    base = kind(**given)
    if base.spec.kind != "classification":
        raise ConfigError(
            f"--base {setting.base} has real targets: name a stream of classes, such as clusters "
            "or omniglot."
        )
    require(setting.change, get_type_hints(Changed)["change"].__args__, "a change")
    return Changed(stream=base, change=setting.change, strength=strength, uniform=uniform)  # type: ignore[arg-type]


def training(setting: Setting, seed: int, spec: StreamSpec) -> Train:
    """The settings of meta-training, with `plastic=all` as the number of the network's layers."""
    method, options = method_and_options(setting.method)
    layers = Problem(spec, setting.preset).network()  # type: ignore[arg-type]
    every = sum(isinstance(layer, nn.Linear | nn.Conv2d) for layer in layers)
    options = tuple(o if o != "plastic=all" else f"plastic={every}" for o in options)
    return Train(
        method=method, options=options, preset=setting.preset,  # type: ignore[arg-type]
        steps=setting.steps, tasks=setting.tasks, seed=seed, save_every=setting.steps,
        log_every=setting.steps,
    )  # fmt: skip
