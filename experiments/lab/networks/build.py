"""From names on a command line to a stream and a learner."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any, get_args, get_type_hints

import torch
from torch import nn

from experiments.lab.networks.problem import Problem
from experiments.lab.settings.config import Stream, Train
from experiments.lab.settings.presets import STREAM, TEST, of_preset
from experiments.lab.settings.registry import (
    ConfigError,
    methods,
    require,
    split_options,
    tasks,
    typed,
)
from metaplastic import OnlineLearner, StreamSpec, TaskStream
from metaplastic.inner.grow import grow
from tasks import stream_class

HELD_OUT = ("test", "validation", "paper_test")
"""The splits that a rule may be judged on."""
OVERLAPPING_SPLITS = {"background": ("validation",), "paper": ("validation",)}
"""The splits of `HELD_OUT` that share classes with one that a rule may be meta-trained on."""
IN_TRAINING = ("split", "overlap", "remember", "distort", "elastic")
"""Options that let meta-training see what a test must not; they never reach one."""


def require_device(name: str) -> None:
    """Refuse a device that torch cannot use here."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"--device {name} cannot be used here ({reason}): use --device cpu."
        ) from error


def build_stream(config: Stream, split: str) -> TaskStream:
    """The stream of a config: its preset, then its own options over that.

    `split` is `train` or one of `HELD_OUT`; a preset may know a stream's own name for train and
    test, and a method the lifetimes it is meta-trained on. Of the options on a command line, those
    of `IN_TRAINING` are for `train` alone, as are those that are written `train.name`; `test.name`
    is for tests alone.
    """
    require(config.task, tasks(), "a task")
    kind = stream_class(config.task)
    fields = _fields(kind)
    if "split" not in fields:
        raise ConfigError(
            f"{kind.__name__} of task {config.task!r} is not a dataclass with a field split: "
            'the scripts need one that may be "train" or "test", and read options off fields.'
        )
    hints = get_type_hints(kind)
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    chosen: dict[str, Any] = {"split": split}
    for table, its in ((STREAM, "train"), (TEST, "test"))[: 1 if split == "train" else 2]:
        own = of_preset(table, config.preset, config.task)
        kept = [name for name in own if name in fields and (name != "split" or its == split)]
        chosen |= {name: own[name] for name in kept}
    if split == "train":
        chosen |= {name: value for name, value in _lifetimes(config).items() if name in fields}
    if "order" in fields:
        orders = get_args(hints["order"])
        chosen["order"] = "iid" if config.order == "iid" else next(o for o in orders if o != "iid")
    elif config.order == "iid":
        raise ConfigError(f"task {config.task!r} has only one order: give --order incremental.")
    if config.data is not None and "root" in fields:
        chosen["root"] = str(config.data)
    for given, text in split_options("--stream", config.stream).items():
        meant, _, name = given.rpartition(".")
        require(meant, ("", "train", "test"), "a prefix of stream options")
        if meant and meant != ("train" if split == "train" else "test"):
            continue
        require(name, fields, f"an option of task {config.task!r}")
        if name == "order":
            raise ConfigError(f"--stream order={text} would contradict --order: use --order.")
        value = typed(name, text, hints[name])
        if name == "split" and split == "train" and text in HELD_OUT and text != "validation":
            raise ConfigError(
                f"--stream split={text} is what a rule is judged on: meta-train it on another."
            )
        if split == "train" or name not in IN_TRAINING:
            chosen[name] = value
        elif meant == "test" and value != chosen.get(name, defaults[name]):
            raise ConfigError(
                f"--stream {given}={text} would change what every rule is tested on: leave it out"
                + (", and judge the rule by meta_test --stream split=." if name == "split" else ".")
            )
    return kind(**chosen)  # type: ignore[no-any-return]


def evaluation_split(config: Stream, source: Mapping[str, Any]) -> str:
    """The split that a command line names, refusing what would make no test of a rule.

    `config` has the options of that command line alone, `source` is the provenance of the rule.
    """
    options = split_options("--stream", config.stream)
    split = options.pop("test.split", options.pop("split", "test"))
    trained = trained_on(source)
    if split not in HELD_OUT or split in (trained, *OVERLAPPING_SPLITS.get(trained, ())):
        raise ConfigError(
            f"--stream split={split} may have been meta-trained on: a rule is judged on "
            f"what it never met, {', '.join(HELD_OUT)}."
        )
    for given in options:
        meant, _, name = given.rpartition(".")
        if meant != "train" and name in IN_TRAINING:
            raise ConfigError(
                f"--stream {given}= is for meta-training alone: leave it out of a test."
            )
    return split


def trained_on(source: Mapping[str, Any]) -> str:
    """The split that a rule was meta-trained on, by its provenance."""
    settings = source.get("settings", {})
    options = split_options("--stream", settings.get("stream", ()))
    own = of_preset(STREAM, settings.get("preset", ""), settings.get("task", ""))
    # Older rule files lack the split itself; it is what their settings came to.
    asked = options.get("train.split") or options.get("split")
    return str(source.get("split") or asked or own.get("split", "train"))


def has_orders(task: str) -> bool:
    """Whether a task has an order besides its own: shuffled."""
    return "order" in _fields(stream_class(task))


def _lifetimes(config: Stream) -> dict[str, Any]:
    """The options of the stream that a method is meta-trained on, if it has its own."""
    name = getattr(config, "method", None)
    if name is None:
        return {}
    require(name, methods(), "a method")
    own = getattr(import_module(f"experiments.methods.{name}"), "stream", None)
    return {} if own is None else dict(own(config.task, config.preset))


def _fields(kind: Any) -> list[str]:
    if not dataclasses.is_dataclass(kind):
        return []
    return [field.name for field in dataclasses.fields(kind) if field.init]


def given_options(config: Train) -> dict[str, Any]:
    """The method's options on the command line, as the types that its `build` declares."""
    require(config.method, methods(), "a method")
    build = import_module(f"experiments.methods.{config.method}").build
    hints = get_type_hints(build)
    known = [name for name in inspect.signature(build).parameters if name != "problem"]
    options: dict[str, Any] = {}
    for name, text in split_options("--options", config.options).items():
        require(name, known, f"an option of method {config.method!r}")
        options[name] = typed(name, text, hints[name])
    return options


def build_learner(config: Train, stream: TaskStream) -> OnlineLearner:
    """The method's learner for this stream, at the preset's size."""
    options = given_options(config)
    build = import_module(f"experiments.methods.{config.method}").build
    learner = build(Problem(stream.spec, config.preset), **options)
    if not isinstance(learner, OnlineLearner):
        raise ConfigError(
            f"build of method {config.method!r} returned a {type(learner).__name__}: it must "
            "return an OnlineLearner."
        )
    return learner


def fitted(learner: OnlineLearner, spec: StreamSpec) -> OnlineLearner:
    """The learner itself or, for a stream of more classes than it has outputs, it grown."""
    if spec.kind == "classification" and spec.outputs > learner.objective.outputs:
        return grow(learner, spec.outputs)
    return learner


def own_classes(source: Mapping[str, Any]) -> list[type]:
    """The rules, pathways and encoders that the method of a rule file made for itself.

    `source` is the file's provenance. A file may name a method, but only one that stands among
    ours is looked into, so reading a stranger's file runs nothing of the stranger's.
    """
    name = str(source.get("method", "")).partition(" ")[0]
    if name not in methods():
        return []
    return [
        value
        for value in vars(import_module(f"experiments.methods.{name}")).values()
        if isinstance(value, type)
        and issubclass(value, nn.Module)
        and not value.__module__.startswith(("metaplastic.", "torch."))
    ]


def build_rates(config: Train, stream: TaskStream, groups: Mapping[str, Any]) -> dict[str, float]:
    """Meta learning rate of every group that has parameters: the method's, or --rates."""
    method = import_module(f"experiments.methods.{config.method}")
    rates: dict[str, float] = dict(method.rates(Problem(stream.spec, config.preset)))
    for name, text in split_options("--rates", config.rates).items():
        require(name, groups, f"a group of parameters of method {config.method!r}")
        rates[name] = typed(name, text, float)
    missing = [name for name in groups if name not in rates]
    if missing:
        raise ConfigError(
            f"method {config.method!r} names no rate for {', '.join(missing)}: add it to its "
            "rates, or give --rates name=value."
        )
    return {name: rates[name] for name in groups}
