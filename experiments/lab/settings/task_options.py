"""The options of a task, read from its source for `--help` without importing torch."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from experiments.lab.settings.presets import STREAM, TEST, of_preset
from experiments.lab.settings.registry import ROOT


def task_options(task: str, preset: str) -> list[str]:
    """Lines for `--help`: the options in meta-training, and what is different in tests."""
    own = fields(task)
    train = own | {name: _word(value) for name, value in of_preset(STREAM, preset, task).items()}
    tests = {name: _word(value) for name, value in of_preset(TEST, preset, task).items()}
    lines = [_line({name: value for name, value in train.items() if name in own})]
    if changed := {
        name: tests[name] for name in own if tests.get(name, train[name]) != train[name]
    }:
        lines.append(f"in tests: {_line(changed)}")
    return lines


def fields(task: str) -> dict[str, str]:
    """The fields of a task's class, each with its default as `--stream` would read it."""
    file = ROOT / "tasks" / f"{task}.py"
    names = [node.name for node in _tree(file).body if isinstance(node, ast.ClassDef)]
    own = next((name for name in names if name.lower() == task.replace("_", "")), "")
    found = _fields(file, own)
    found.pop("order", None)  # it has a flag of its own
    return found


def _line(options: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in options.items()) or "none"


def _word(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _fields(file: Path, class_name: str) -> dict[str, str]:
    """Fields by name, those of base classes first; what is not of ours has none to be read."""
    tree = _tree(file)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if class_name not in classes:
        source = _imported(tree, class_name)
        return {} if source is None else _fields(source, class_name)
    found: dict[str, str] = {}
    for base in reversed(classes[class_name].bases):
        found |= _fields(file, base.id) if isinstance(base, ast.Name) else {}
    for node in classes[class_name].body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            default = _default(node)
            if default is not None:
                found[node.target.id] = default
    return found


def _default(node: ast.AnnAssign) -> str | None:
    """A field's default as a word, that of a constant by its name; None where none can be given."""
    value = node.value
    if ast.unparse(node.annotation).startswith("ClassVar") or isinstance(value, ast.Call):
        return None  # a call is of `field`, for what no word could stand for
    if value is None:
        return "..."
    try:
        return _word(ast.literal_eval(value))
    except ValueError:
        return ast.unparse(value)


def _imported(tree: ast.Module, name: str) -> Path | None:
    """The file among ours that a name is imported from."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            file = ROOT.joinpath(*(node.module or "").split(".")).with_suffix(".py")
            return file if file.is_file() else None
    return None
