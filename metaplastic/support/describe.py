"""Descriptions: objects as JSON and back, without pickle, by class name and constructor options.

Only three sorts of class can be built: the layers of `torch.nn` listed here, the modules and
frozen dataclasses of this package, and classes passed by the caller. So an untrusted description
can construct networks and nothing else.

A module is described by its `options`: its constructor's keyword arguments. Nothing is registered
by hand; a new file in the package is found automatically.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from torch import nn

from metaplastic.support.choices import did_you_mean
from metaplastic.support.recorded import options_of

LAYERS = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.GroupNorm, nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d,
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Tanh, nn.Sigmoid, nn.Softplus,
    nn.Identity, nn.Flatten, nn.Unflatten, nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Dropout, nn.Dropout2d,
)  # fmt: skip
TORCH = "torch.nn."
PLACEMENT = ("device", "dtype")  # constructor arguments that the tensors file determines

# Former names in rule files of earlier releases: a file that has them loads to the same learner.
RENAMED_KINDS = {"Birth": "Initialization", "Glances": "ShiftAveraged"}
RENAMED_OPTIONS = {
    "LearningRule": {"feedback": "pathway", "rests_in_training": "frozen_in_training"},
    "OnlineLearner": {
        "birth": "initialization",
        "birth_at_test": "initialization_at_test",
    },
    "ShiftAveraged": {"seen": "encoder", "reach": "max_shift"},
}
RENAMED_SUBMODULES = {"ShiftAveraged": {"seen": "encoder"}}  # parts of the names of tensors


class DescriptionError(ValueError):
    """An object cannot be described, or a description cannot be built."""


def describe(value: Any) -> Any:
    """`value` as JSON-able values, from which `build` makes an equal object without its tensors.

    Raises:
        DescriptionError: for anything that is not a number, a string, a list, tuple or dict of
            describable things, a frozen dataclass, a listed layer, or a module with `options`.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, list):
        return [describe(item) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [describe(item) for item in value]}
    if isinstance(value, Mapping):
        return {"dict": {str(key): describe(item) for key, item in value.items()}}
    if type(value) is nn.Sequential:
        # Not `named_children`, which omits a layer that is used a second time. Such a layer is
        # rebuilt as two, with the same weights.
        used = zip(value._modules, value, strict=True)
        children = {name: describe(child) for name, child in used}
        return {"kind": TORCH + "Sequential", "children": children}
    if type(value) in LAYERS:
        return {
            "kind": TORCH + type(value).__name__,
            "options": describe(_arguments(value))["dict"],
        }
    options = options_of(value)
    if isinstance(value, nn.Module) and isinstance(options, Mapping):
        return {"kind": type(value).__name__, "options": describe(options)["dict"]}
    if _is_record(type(value)):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {"kind": type(value).__name__, "options": describe(fields)["dict"]}
    if inspect.isroutine(value):
        raise DescriptionError(
            f"A {type(value).__name__} cannot be described, so a schedule cannot be saved; give a "
            "number in its place."
        )
    raise DescriptionError(
        f"A {type(value).__name__} cannot be described: it is not a layer that this package knows. "
        "Give its class the attribute options, a dict of its constructor's keyword arguments."
    )


def build(description: Any, classes: Iterable[type] = ()) -> Any:
    """A new object as described by `description`.

    Args:
        classes: further classes that the description may name.

    Raises:
        DescriptionError: for an unknown kind, or arguments that it does not accept.
    """
    return _build(description, known(tuple(classes)))


def _build(description: Any, kinds: Mapping[str, type]) -> Any:
    if isinstance(description, list):
        return [_build(item, kinds) for item in description]
    if not isinstance(description, dict):
        return description
    match description:
        case {"float": str(text)} if len(description) == 1:
            return float(text)
        case {"tuple": list(items)} if len(description) == 1:
            return tuple(_build(item, kinds) for item in items)
        case {"dict": dict(items)} if len(description) == 1:
            return {key: _build(item, kinds) for key, item in items.items()}
        case {"kind": "torch.nn.Sequential", "children": dict(children)}:
            network = nn.Sequential()
            for name, child in children.items():
                network.add_module(name, _build(child, kinds))
            return network
        case {"kind": str(kind), "options": dict(options)}:
            kind = RENAMED_KINDS.get(kind, kind)
            if kind not in kinds:
                raise DescriptionError(_unknown(kind, kinds))
            renamed: Mapping[str, str] = RENAMED_OPTIONS.get(kind, {})
            arguments: dict[str, Any] = {
                renamed.get(key, key): _build(item, kinds) for key, item in options.items()
            }
            accepted = inspect.signature(kinds[kind]).parameters
            if kind.startswith(TORCH) and arguments.get("bias") is True and "bias" not in accepted:
                del arguments["bias"]  # of a norm, which has one always in torch before 2.7
            try:
                return kinds[kind](**arguments)
            except DescriptionError:
                raise
            except (TypeError, ValueError, RuntimeError) as error:
                raise DescriptionError(f"{kind} cannot be built as described: {error}") from error
    raise DescriptionError(
        f"{str(description)[:80]!r} is not a description; it needs a kind and options."
    )


def known(classes: tuple[type, ...] = ()) -> dict[str, type]:
    """Every class that can be built, by its name in a description."""
    kinds = dict(_of_this_package())
    for added in classes:
        if kinds.get(added.__name__, added) is not added:
            raise DescriptionError(
                f"classes has {added.__name__}, and so does this package. Rename your class."
            )
        kinds[added.__name__] = added
    return kinds


def own_classes(module: nn.Module) -> set[type]:
    """The classes of a module's submodules that are neither torch's nor this package's."""
    ours = known().values()
    return {
        type(part)
        for part in module.modules()
        if type(part) not in ours and not type(part).__module__.startswith("torch.")
    }


def current_names(module: nn.Module) -> Callable[[str], str]:
    """A function from a tensor's name in an older rule file of `module` to its present name."""
    former = {
        f"{path}.{old}.".lstrip("."): f"{path}.{new}.".lstrip(".")
        for path, part in module.named_modules()
        for old, new in RENAMED_SUBMODULES.get(type(part).__name__, {}).items()
    }

    def current(name: str) -> str:
        for old, new in former.items():
            if name.startswith(old):
                return new + name.removeprefix(old)
        return name

    return current


@cache
def _of_this_package() -> dict[str, type]:
    package = importlib.import_module(__name__.partition(".")[0])
    kinds: dict[str, type] = {TORCH + layer.__name__: layer for layer in LAYERS}
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        for name, value in vars(importlib.import_module(module.name)).items():
            ours = inspect.isclass(value) and value.__module__ == module.name
            if ours and not name.startswith("_") and (_is_module(value) or _is_record(value)):
                if name in kinds:
                    raise DescriptionError(f"Two classes of this package are called {name}.")
                kinds[name] = value
    return kinds


def _is_module(value: type) -> bool:
    return issubclass(value, nn.Module)


def _is_record(value: type) -> bool:
    return dataclasses.is_dataclass(value) and value.__dataclass_params__.frozen  # type: ignore[attr-defined]


def _arguments(layer: nn.Module) -> dict[str, Any]:
    """The constructor arguments of a torch layer, read back from its attributes."""
    arguments = {}
    for name, parameter in inspect.signature(type(layer)).parameters.items():
        if name in PLACEMENT or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        value = getattr(layer, name)
        arguments[name] = value is not None if name == "bias" else value
    return arguments


def _unknown(kind: str, kinds: Mapping[str, type]) -> str:
    return (
        f"The kind {kind!r} is unknown.{did_you_mean(kind, kinds)} "
        "If it is a class of your own, pass it: classes=[...]."
    )
