"""The resolved settings of a run, after presets, methods and streams are applied."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from experiments.lab.networks.build import build_rates, build_stream, given_options
from experiments.lab.settings.config import Train
from metaplastic import OnlineLearner, TaskStream
from tasks.data import data_folder


def resolved(config: Train, learner: OnlineLearner, stream: TaskStream) -> dict[str, Any]:
    """All settings that `config.json` leaves to defaults, JSON-able."""
    groups = learner.parameter_groups()
    root = getattr(stream, "root", config.data)
    folder = data_folder(root)
    test = build_stream(config, "test")
    # An invalid test raises before meta-training, not after.
    test.spec.check(test.sample(1, torch.Generator().manual_seed(config.seed)))
    return {
        "train_stream": _fields(stream),
        "test_stream": _fields(test),
        # The spec reads the data of a stream and checks its options.
        "train_spec": dataclasses.asdict(stream.spec),
        "test_spec": dataclasses.asdict(test.spec),
        "data": None if folder is None else str(folder.absolute()),
        "method": config.method,
        "options": _defaults(config.method) | given_options(config),
        "rates": build_rates(config, stream, groups),
        "parameters": {
            name: sum(parameter.numel() for parameter in group) for name, group in groups.items()
        },
    }


def _fields(stream: Any) -> dict[str, Any]:
    return {field.name: _plain(getattr(stream, field.name)) for field in dataclasses.fields(stream)}


def _defaults(method: str) -> dict[str, Any]:
    build = import_module(f"experiments.methods.{method}").build
    return {
        name: _plain(parameter.default)
        for name, parameter in inspect.signature(build).parameters.items()
        if parameter.default is not parameter.empty
    }


def _plain(value: Any) -> Any:
    """`value` as JSON, or its repr."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else repr(value)
