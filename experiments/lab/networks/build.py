"""Construction of streams and learners from a configuration."""

from __future__ import annotations

import dataclasses
import inspect
import sys
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

HELD_OUT = ("test", "validation", "paper_test", "wide_test")
"""The splits that a rule may be evaluated on."""
OVERLAPPING_SPLITS = {
    "train": ("wide_test",), "validation": ("wide_test",),
    "background": ("validation", "wide_test"),
    "paper": ("validation", "wide_test"), "narrow": ("validation", "test", "paper_test"),
}  # fmt: skip
"""The splits of `HELD_OUT` that share classes with a split for meta-training."""
FORMER_OPTIONS = {"glances": "max_shift"}
"""Former names of options of methods, for one release."""
IN_TRAINING = ("split", "overlap", "remember", "distort", "elastic")
"""Options for meta-training that are never applied to a test."""


def require_device(name: str) -> None:
    """Raise ConfigError for a device that torch cannot use."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"--device {name} cannot be used here ({reason}): use --device cpu."
        ) from error


def build_stream(config: Stream, split: str) -> TaskStream:
    """The stream of a config: options of the preset, of the method, then of the command line.

    `split` is `train` or one of `HELD_OUT`. Options in `IN_TRAINING` and those written `train.name`
    apply to `train` alone; those written `test.name` apply to tests alone.
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
    for table, table_split in ((STREAM, "train"), (TEST, "test"))[: 1 if split == "train" else 2]:
        own = of_preset(table, config.preset, config.task)
        kept = [
            name for name in own if name in fields and (name != "split" or table_split == split)
        ]
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
        if name == "split" and text == "narrow":
            raise ConfigError(
                f"--stream {given}=narrow shares characters with the test: give --task "
                "split_omniglot --stream protocol=thousand, which brings its own."
            )
        if name == "split" and split == "train" and text in HELD_OUT and text != "validation":
            raise ConfigError(
                f"--stream split={text} is for evaluation: meta-train on another split."
            )
        if split == "train" or name not in IN_TRAINING:
            chosen[name] = value
        elif meant == "test" and value != chosen.get(name, defaults[name]):
            raise ConfigError(
                f"--stream {given}={text} would change the test of every rule: omit it"
                + (", and use meta_test --stream split=." if name == "split" else ".")
            )
    return kind(**chosen)  # type: ignore[no-any-return]


def evaluation_split(config: Stream, source: Mapping[str, Any]) -> str:
    """The split to evaluate a rule on, which must not overlap with that of meta-training.

    `config` has the options of the command line alone, `source` is the provenance of the rule.
    """
    options = split_options("--stream", config.stream)
    split = options.pop("test.split", options.pop("split", "test"))
    trained = trained_on(source)
    if trained == "narrow" and split == "test":
        split = "wide_test"  # what `test` means in the protocol that the rule was trained by
    if split not in HELD_OUT or split in (trained, *OVERLAPPING_SPLITS.get(trained, ())):
        raise ConfigError(
            f"--stream split={split} may overlap with meta-training: evaluate a rule on held-out "
            f"classes, {', '.join(HELD_OUT)}."
        )
    for given in options:
        meant, _, name = given.rpartition(".")
        if meant != "train" and name in IN_TRAINING:
            raise ConfigError(f"--stream {given}= is for meta-training alone: omit it in a test.")
    return split


def trained_on(source: Mapping[str, Any]) -> str:
    """The split that a rule was meta-trained on, by its provenance."""
    settings = source.get("settings", {})
    options = split_options("--stream", settings.get("stream", ()))
    own = of_preset(STREAM, settings.get("preset", ""), settings.get("task", ""))
    # Older rule files lack the split; it follows from their settings.
    own_split = options.get("train.split") or options.get("split")
    return str(source.get("split") or own_split or own.get("split", "train"))


def has_orders(task: str) -> bool:
    """Whether a task has a shuffled order besides its own."""
    return "order" in _fields(stream_class(task))


def _lifetimes(config: Stream) -> dict[str, Any]:
    """The options of the stream that a method declares for its meta-training."""
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
        if name in FORMER_OPTIONS and name not in known:
            print(f"The option {name} is now called {FORMER_OPTIONS[name]}.", file=sys.stderr)
            name = FORMER_OPTIONS[name]
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
    """The learner, extended to the stream's number of classes if it has fewer outputs."""
    if spec.kind == "classification" and spec.outputs > learner.objective.outputs:
        return grow(learner, spec.outputs)
    return learner


def own_classes(source: Mapping[str, Any]) -> list[type]:
    """The classes that the method of a rule file defines: rules, pathways and encoders.

    `source` is the file's provenance. Only methods of this repository are imported, so that reading
    an untrusted file runs no code from it.
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
