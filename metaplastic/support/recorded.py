"""Objects that know what they were made with, so that they can be saved, copied and made again."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Self


class Recorded:
    """Keeps the arguments of its constructor, whatever they are, in `made_with`."""

    made_with: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = super().__new__(cls)
        try:
            bound = inspect.signature(cls.__init__).bind(made, *args, **kwargs)
        except TypeError:  # made by `copy`, which fills in what was kept, or refused in a moment
            return made
        bound.apply_defaults()
        kept: dict[str, Any] = {}
        for (name, value), parameter in zip(
            list(bound.arguments.items())[1:],
            list(bound.signature.parameters.values())[1:],
            strict=True,
        ):
            if parameter.kind is parameter.VAR_KEYWORD:
                kept |= value
            elif parameter.kind is not parameter.VAR_POSITIONAL:
                kept[name] = value
        object.__setattr__(made, "made_with", kept)
        return made


def options_of(value: Any) -> Mapping[str, Any] | None:
    """What an object says of its construction: its `options`, and what else it was made with.

    An option that the constructor does not take is left out; None for an object that says nothing.
    """
    said = getattr(value, "options", None)
    kept = getattr(value, "made_with", None)
    if not isinstance(said, Mapping):
        return kept if isinstance(kept, Mapping) else None
    if not isinstance(kept, Mapping):
        return said
    taken = inspect.signature(type(value).__init__).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in taken.values())
    known = {name: said[name] for name in said if open_ended or name in taken}
    return {**kept, **known}
