"""The methods and tasks that a command line can name, found as files.

Files are parsed with `ast`, not imported, so that `--help` is fast and does not import torch.
"""

from __future__ import annotations

import ast
import math
import types
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from tasks import names as task_names

ROOT = Path(__file__).resolve().parents[3]


class ConfigError(ValueError):
    """An unknown name or invalid value on the command line."""


@cache
def methods() -> dict[str, str]:
    """Every file of `experiments/methods` with a function `build`, and its first line."""
    return {
        file.stem: _first_line(tree)
        for file, tree in _sources("experiments/methods")
        if _build(tree) is not None
    }


@cache
def tasks() -> dict[str, str]:
    """Every stream of `tasks`, and the first line of its file."""
    lines = {file.stem: _first_line(tree) for file, tree in _sources("tasks")}
    return {name: lines[name] for name in task_names()}


@cache
def method_options(method: str) -> dict[str, str]:
    """The options of a method's `build`, each with its default as it stands in the source."""
    build = {file.stem: _build(tree) for file, tree in _sources("experiments/methods")}[method]
    if build is None:
        return {}
    names, given = build.args.args[1:], build.args.defaults  # the first argument is the problem
    pairs = [*zip(names[len(names) - len(given) :], given, strict=True)]
    pairs += [
        (name, default)
        for name, default in zip(build.args.kwonlyargs, build.args.kw_defaults, strict=True)
        if default is not None
    ]
    return {name.arg: ast.unparse(default) for name, default in pairs}


@cache
def _sources(folder: str) -> list[tuple[Path, ast.Module]]:
    files = sorted((ROOT / folder).glob("[!_]*.py"))
    return [(file, ast.parse(file.read_text(encoding="utf-8"))) for file in files]


def _first_line(tree: ast.Module) -> str:
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def _build(tree: ast.Module) -> ast.FunctionDef | None:
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    return next((function for function in functions if function.name == "build"), None)


def nearest(given: str, known: Iterable[str], what: str) -> ConfigError:
    """The error for an unknown name, with the closest known one."""
    names = list(known)
    close = get_close_matches(given, names, n=1, cutoff=0.5)
    advice = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(names)}."
    return ConfigError(f"{given!r} is not {what}: {advice}")


def require(given: str, known: Iterable[str], what: str) -> None:
    """Raise ConfigError for an unknown name."""
    names = list(known)
    if given not in names:
        raise nearest(given, names, what)


def split_options(flag: str, given: Iterable[str]) -> dict[str, str]:
    """Texts `name=value` as a dictionary."""
    pairs = [text.partition("=") for text in given]
    for name, equals, _ in pairs:
        if not equals:
            raise ConfigError(f"{flag} got {name!r}: write each option as name=value.")
    return {name: value for name, _, value in pairs}


def typed(name: str, text: str, hint: Any) -> Any:
    """Read an option's text as the type its parameter declares."""
    found, value = _read(text, hint)
    if not found:
        wanted = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
        raise ConfigError(f"{name}={text} cannot be read: {name} must be {wanted}{_more(text)}.")
    return value


def _more(text: str) -> str:
    """What else a number must be that Python reads and an option is not given."""
    if not text.strip(" ,"):
        return ", not empty"
    if not text.isascii():
        return ", with numbers in the digits 0 to 9"
    numbers = [word.strip().lower().lstrip("+-") for word in text.split(",")]
    return ", and finite" if {"nan", "inf", "infinity"} & {*numbers} else ""


def _read(text: str, hint: Any) -> tuple[bool, Any]:
    arguments = get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        return next(
            (got for got in (_read(text, one) for one in arguments) if got[0]), (False, None)
        )
    if get_origin(hint) is Literal:
        return next(((True, value) for value in arguments if text == str(value)), (False, None))
    if get_origin(hint) is tuple:
        words = text.split(",")
        kinds = arguments[:1] * len(words) if Ellipsis in arguments else arguments
        parts = [_read(word, kind) for word, kind in zip(words, kinds, strict=False)]
        whole = len(words) == len(kinds) and all(found for found, _ in parts)
        return whole, tuple(value for _, value in parts)
    if hint is types.NoneType:
        return text.lower() == "none", None
    if hint is bool:
        return text.lower() in ("true", "false"), text.lower() == "true"
    if hint is str:
        return bool(text.strip()), text
    try:
        value = hint(text) if hint in (int, float) and text.isascii() else None
    except ValueError:
        return False, None
    return value is not None and (hint is int or math.isfinite(value)), value
