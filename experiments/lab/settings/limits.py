"""Range and type checks of settings."""

from __future__ import annotations

import dataclasses
import math
import types
from pathlib import Path, PurePath
from typing import Any, Literal, Union, get_args, get_origin

from experiments.lab.settings.registry import ConfigError

COUNTS = (
    "episodes", "threads", "steps", "tasks", "micro_batch", "checkpoint_every", "truncate",
    "log_every", "save_every", "max_skipped", "seeds", "jobs", "lifetimes", "examples", "repeat",
    "characters", "trials", "validate_every", "processes", "nodes", "cpus",
)  # fmt: skip
AMOUNTS = ("minutes", "clip", "loss_limit", "hours", "memory")


def require_in_range(config: object) -> None:
    """Raise ConfigError for a number out of range, or a name outside the folder of runs."""
    for name in (*COUNTS, *AMOUNTS):
        value = getattr(config, name, None)
        flag = "--" + name.replace("_", "-")
        if value is None:
            continue
        if name in COUNTS and value < 1:
            raise ConfigError(f"{flag} is {value}: it must be at least 1.")
        if name in AMOUNTS and not 0 < value < math.inf:
            raise ConfigError(f"{flag} is {value:g}: it must be above 0 and finite.")
    factors = getattr(config, "sweep", ())
    if not all(0 < factor < math.inf for factor in factors):
        raise ConfigError(f"--sweep is {factors}: every value must be above 0 and finite.")
    require_finite(config)
    given = getattr(config, "name", None)
    if given is not None and hasattr(config, "runs"):
        path = PurePath(given)
        if not path.parts or path.is_absolute() or ".." in path.parts:
            raise ConfigError(f"--name {given!r} is not the name of a folder within --runs.")


def require_finite(config: object) -> None:
    """Raise ConfigError for a number that is NaN or infinite."""
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                flag = "--" + field.name.replace("_", "-")
                raise ConfigError(f"{flag} is {number:g}: it must be finite.")


def require_type(name: str, value: Any, hint: Any, source: Path) -> None:
    """Raise ConfigError for a value from a file that is not of the declared type."""
    if not _fits(value, hint):
        wanted = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
        raise ConfigError(f"{name} is {value!r} in {source}: it must be {wanted}.")


def _fits(value: Any, hint: Any) -> bool:
    arguments = get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        return any(_fits(value, one) for one in arguments)
    if get_origin(hint) is Literal:
        return value in arguments
    if get_origin(hint) is tuple:
        return isinstance(value, list) and all(_fits(item, arguments[0]) for item in value)
    if hint is Path:
        return isinstance(value, str)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is hint  # a bool is no number here
