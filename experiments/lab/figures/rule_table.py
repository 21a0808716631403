"""The table of all rules in docs/rules.md, made of the rule files and of what was measured."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

from experiments.lab.figures.tables import as_markdown
from metaplastic import rules

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
