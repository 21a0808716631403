"""Inputs and outputs in any form that a module takes and returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

Output = str | int | Callable[[Any], Tensor] | None
"""What is learned from: a key, an attribute, a position, a function of the output; or the usual."""

USUAL = ("logits", "out", "output", "prediction", "last_hidden_state")


class Inputs(NamedTuple):
    """Positional and named inputs at once."""

    args: tuple[Any, ...]
    named: dict[str, Any]


def as_call(x: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named inputs: a tuple is several, a mapping is by name, else it is the one."""
    if isinstance(x, Inputs):
        return x.args, x.named
    if isinstance(x, tuple):
        return x, {}
    if isinstance(x, Mapping):
        return (), dict(x)
    return (x,), {}


def call(model: nn.Module, x: Any) -> Any:
    """The model on inputs in one of these forms."""
    args, kwargs = as_call(x)
    return model(*args, **kwargs)


def pick(output: Any, how: Output = None) -> Tensor:
    """The tensor of a model's output that is learned from.

    By default the output itself or, of a mapping or dataclass, `logits` or its like, of a tuple the
    first tensor.

    Raises:
        ValueError: if there is no such tensor.
    """
    found = how(output) if callable(how) else _named(output, how)
    if isinstance(found, Tensor):
        return found
    what = f"output={how!r} picks a {type(found).__name__}" if how is not None else "in it there is"
    raise ValueError(
        f"The model returned a {type(output).__name__}, and {what}"
        f"{'' if how is not None else ' no tensor that is usually learned from'}; give output= as "
        "a key, a position, an attribute, or a function of the output that returns one tensor."
    )


def _named(output: Any, how: str | int | None) -> Any:
    if isinstance(output, Tensor) and how is None:
        return output
    parts = _parts(output)
    if how is not None:
        if isinstance(output, list | tuple) and isinstance(how, int):
            return output[how] if -len(output) <= how < len(output) else None
        return parts.get(how, getattr(output, how, None) if isinstance(how, str) else None)
    tensors = {name: part for name, part in parts.items() if isinstance(part, Tensor)}
    for name in USUAL:
        if name in tensors:
            return tensors[name]
    return next(iter(tensors.values()), None)


def _parts(output: Any) -> dict[Any, Any]:
    if isinstance(output, Mapping):
        return dict(output)
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return dict(zip(output._fields, output, strict=True))
    return dict(enumerate(output)) if isinstance(output, list | tuple) else {}


def tensors_in(value: Any) -> list[Tensor]:
    """Every tensor in nested tuples, lists and mappings."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [t for part in value.values() for t in tensors_in(part)]
    if isinstance(value, list | tuple):
        return [t for part in value for t in tensors_in(part)]
    return []


def detached(output: Any) -> Any:
    """The output without its graph, in the form that the model gave it."""
    if isinstance(output, Tensor):
        return output.detach()
    if isinstance(output, dict):
        return type(output)(**{k: detached(v) for k, v in output.items()})
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return type(output)(*map(detached, output))
    if isinstance(output, list | tuple):
        return type(output)(map(detached, output))
    if hasattr(output, "__dataclass_fields__"):
        fields = {f.name: detached(getattr(output, f.name)) for f in dataclasses.fields(output)}
        return dataclasses.replace(output, **fields)
    return output
