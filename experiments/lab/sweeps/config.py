"""Settings of a sweep, and the space that `--search` describes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_type_hints

from typing_extensions import Doc

from experiments.lab.settings import cli
from experiments.lab.settings.config import MetaTraining, Train, preset
from experiments.lab.settings.registry import ConfigError, require, typed

SETTINGS = (
    "steps", "tasks", "micro_batch", "clip", "schedule", "loss_limit", "checkpoint_every",
    "truncate", "precision",
)  # fmt: skip
PREFIXES = {"options": "options", "rates": "rates", "stream": "stream"}
FREE = ("trials", "jobs", "runs", "data", "threads", "debug", "episodes")  # may differ on resuming
SPACE = (
    "what to search, as NAME=LOW..HIGH, NAME=LOW..HIGH:log or NAME=A,B,...; a NAME is "
    "options.NAME, rates.GROUP, stream.NAME (of meta-training alone) or one of "
    + " ".join(SETTINGS)
)


@dataclass(frozen=True)
class Between:
    """All numbers, or all whole numbers, from `low` to `high`."""

    low: float
    high: float
    whole: bool
    log: bool


Values: TypeAlias = Between | tuple[str, ...]
Space: TypeAlias = Mapping[str, Values]


@dataclass(frozen=True, kw_only=True)
class Sweep(MetaTraining):
    """Search settings of a method for the lowest error, or highest accuracy, at validation."""

    method: Annotated[str, Doc("a file in experiments/methods")] = "flp"
    options: Annotated[tuple[str, ...], Doc("options of the method, as name=value ...")] = ()
    rates: Annotated[
        tuple[str, ...], Doc("meta learning rates as group=value ..., over the method's own")
    ] = ()
    search: Annotated[tuple[str, ...], Doc(SPACE)] = ()
    trials: Annotated[int, Doc("meta-trainings, complete or pruned, of all processes")] = 20
    sampler: Annotated[
        Literal["tpe", "random", "grid"], Doc("how settings are chosen; grid: lists alone")
    ] = "tpe"
    pruner: Annotated[
        Literal["median", "halving", "none"],
        Doc("ends trials that are behind: below the median, or successive halving"),
    ] = "median"
    validate_every: Annotated[
        int | None, Doc("meta-steps between two evaluations; None: a tenth of a trial")
    ] = None
    lifetimes: Annotated[int, Doc("of validation, in each evaluation")] = 20
    jobs: Annotated[int, Doc("processes that this command starts")] = 1
    storage: Annotated[
        str | None, Doc("Optuna's URL of a database to share; None: study.db in the folder")
    ] = None
    name: Annotated[str, Doc("of the sweep; processes with the same one share it")] = "sweep"

    @property
    def root(self) -> Path:
        return self.runs / self.name


def read(argv: Sequence[str]) -> Sweep:
    """The command line over its preset; its space is checked."""
    config = cli.parse(Sweep, argv, preset(Sweep, argv))
    found = space(config.search)
    if config.sampler == "grid":
        if ranges := [name for name, values in found.items() if isinstance(values, Between)]:
            raise ConfigError(
                f"--sampler grid has no values of {ranges[0]}, which is a range: write a list, "
                f"as in {ranges[0]}=1,2."
            )
        size = math.prod(len(values) for values in found.values() if isinstance(values, tuple))
        config = replace(config, trials=min(config.trials, size))
    return config


def space(search: Sequence[str]) -> dict[str, Values]:
    """What `--search` describes, by name.

    Raises:
        ConfigError: for an empty space, an unknown name, or values that are none.
    """
    if not search:
        raise ConfigError("--search is empty: say what to search, as in rates.weights=1e-4..1e-2.")
    found: dict[str, Values] = {}
    for text in search:
        name, equals, values = text.partition("=")
        prefix, dot, option = name.partition(".")
        if not equals or (dot and not option):
            raise ConfigError(
                f"--search got {text!r}: write NAME=LOW..HIGH, NAME=LOW..HIGH:log or NAME=A,B."
            )
        require(prefix, PREFIXES if dot else SETTINGS, "what a sweep can search")
        if name in found:
            raise ConfigError(f"--search names {name} twice: omit one of the two.")
        found[name] = _values(name, values)
    return found


def _values(name: str, text: str) -> Values:
    if ".." not in text:
        listed = tuple(text.split(","))
        if len(set(listed)) < 2 or len(set(listed)) < len(listed) or not all(listed):
            raise ConfigError(
                f"--search {name}={text} is no list: give two values or more, each once."
            )
        return listed
    ends, colon, scale = text.partition(":")
    low, _, high = ends.partition("..")
    if (colon and scale != "log") or not (low and high):
        raise ConfigError(f"--search {name}={text} is no range: write LOW..HIGH or LOW..HIGH:log.")
    whole = all(re.fullmatch(r"[+-]?[0-9]+", end) for end in (low, high))
    first, last = (float(typed(name, end, int if whole else float)) for end in (low, high))
    if not first < last or (colon and first <= 0):
        wanted = "above 0 and below HIGH" if colon else "below HIGH"
        raise ConfigError(f"--search {name}={text} is no range: LOW must be {wanted}.")
    return Between(first, last, whole, bool(colon))


def trial_run(config: Sweep, values: Mapping[str, Any], name: str) -> Train:
    """The run of one trial: the settings of the sweep with `values` of its space."""
    shared = {field.name: getattr(config, field.name) for field in fields(MetaTraining)}
    run = Train(
        **shared, method=config.method, options=config.options, rates=config.rates,
        name=f"{config.name}/{name}",
    )  # fmt: skip
    hints = get_type_hints(Train)
    for key, value in values.items():
        prefix, dot, option = key.partition(".")
        if dot:
            option = f"train.{option}" if prefix == "stream" else option
            run = replace(run, **{prefix: (*getattr(run, prefix), f"{option}={value}")})  # type: ignore[arg-type]
        else:
            read_value = typed(key, value, hints[key]) if isinstance(value, str) else value
            run = replace(run, **{key: read_value})
    return run


def examples(config: Sweep) -> list[dict[str, Any]]:
    """Values of the space: every one of a list, and both ends of a range, beside the first ones."""
    edges = {name: _edges(values) for name, values in space(config.search).items()}
    first = {name: some[0] for name, some in edges.items()}
    return [first, *({**first, name: one} for name, some in edges.items() for one in some[1:])]


def _edges(values: Values) -> Sequence[Any]:
    if not isinstance(values, Between):
        return values
    ends = (values.low, values.high)
    return [int(end) for end in ends] if values.whole else ends
