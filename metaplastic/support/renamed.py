"""Former names of options, attributes and classes: they work for one release and warn."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

Value = TypeVar("Value")
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def warn_renamed(old: str, new: str, *, stacklevel: int = 3) -> None:
    """A DeprecationWarning that says what `old` is called now."""
    warnings.warn(
        f"{old} is now {new}; the old name is removed in the next release.",
        DeprecationWarning,
        stacklevel=stacklevel,
    )


def renamed(old: str, given: Value | None, new: str, value: Value | None) -> Value | None:
    """The value of an option that may still come by its old name."""
    if given is None:
        return value
    warn_renamed(f"{old}=", f"{new}=", stacklevel=4)
    return given if value is None else value


def renamed_arguments(
    **names: str,
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """A decorator that accepts keyword arguments by their former names, `old="new"`.

    Raises:
        TypeError: from the decorated function, if an argument is given by both names.
    """

    def decorated(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        @functools.wraps(function)
        def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            for old in names.keys() & kwargs.keys():
                new = names[old]
                if new in kwargs:
                    raise TypeError(f"{old} and {new} are one argument; give {new} alone.")
                warn_renamed(f"The argument {old}", new)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorated


def former_names(module: Mapping[str, Any], **names: str) -> Callable[[str], Any]:
    """A module's `__getattr__` for former names, `old="new"`; `module` is its `globals()`."""

    def lookup(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module['__name__']!r} has no attribute {name!r}")
        warn_renamed(f"{module['__name__']}.{name}", f"{module['__name__']}.{names[name]}")
        return module[names[name]]

    return lookup
