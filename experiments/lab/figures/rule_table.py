"""The tables of all rules in docs/rules.md, made of the rule files and of what was measured."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

from torch import nn

from experiments.lab.figures.tables import as_markdown
from metaplastic import rules
from metaplastic.rules.learning_rule import PARTS
from metaplastic.support.recorded import options_of

RECORD = Path(__file__).resolve().parents[2] / "results" / "tuned.json"
"""What `python -m experiments.credit --tune` left, its table alone."""

REACHED = {"test %, common x 1": "reaches %, common weights", "test %, chosen": "its own weights"}


def table() -> str:
    """One row a rule."""
    measured = {row["rule"]: row for row in json.loads(RECORD.read_text("utf-8"))["table"]}
    rows = []
    for name, kind in rules().items():
        options = [
            option
            for option in inspect.signature(kind).parameters
            if option not in ("scale", "noise", "plasticity")
        ]
        found = measured.get(name, {})
        rows.append({
            "rule": f"`{name}`" + "".join(f", `{alias}`" for alias in kind.alias),
            "errors go back through": f"`{kind.formula}`",
            "local": kind.local,
            "cost": kind.cost,
            "use": kind.use,
            **{title: found.get(key, "") for key, title in REACHED.items()},
            "options besides scale and noise": ", ".join(options),
        })  # fmt: skip
    return as_markdown(rows, order=())


def parts() -> str:
    """One row a rule: its pathway, plasticity and alignment, as it is made without options."""
    rows = [
        {"rule": f"`{name}`", **{part: _said(getattr(kind(), part)) for part in PARTS}}
        for name, kind in rules().items()
    ]
    return as_markdown(rows, order=())


def _said(part: nn.Module) -> str:
    """A part's class, and the settings that are not the defaults of the class."""
    defaults = inspect.signature(type(part)).parameters
    own = {
        name: value
        for name, value in (options_of(part) or {}).items()
        if isinstance(value, bool | int | float | str) and value != defaults[name].default
    }
    settings = ", ".join(f"{name}={value!r}" for name, value in own.items())
    return f"`{type(part).__name__}({settings})`" if settings else f"`{type(part).__name__}`"
