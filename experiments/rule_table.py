"""The table of all rules in docs/rules.md, made of the rule files."""

from __future__ import annotations

import inspect

from experiments.tables import as_markdown
from metaplastic import rules


def table() -> str:
    """One row a rule."""
    rows = []
    for name, kind in rules().items():
        options = [
            option
            for option in inspect.signature(kind).parameters
            if option not in ("scale", "noise")
        ]
        rows.append({
            "rule": f"`{name}`" + "".join(f", `{alias}`" for alias in kind.alias),
            "errors go back through": f"`{kind.formula}`",
            "local": kind.local,
            "cost": kind.cost,
            "use": kind.use,
            "options besides scale and noise": ", ".join(options),
        })  # fmt: skip
    return as_markdown(rows, order=())
