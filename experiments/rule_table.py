"""The table of all rules in docs/rules.md, made of the rule files.

    python -m experiments.rule_table
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

from experiments import cli
from experiments.tables import as_markdown


@dataclass(frozen=True, kw_only=True)
class RuleTable:
    """Print the table of all rules: formula, locality, cost, use."""


def main(argv: Sequence[str]) -> None:
    cli.parse(RuleTable, argv, RuleTable())
    print(table())


def table() -> str:
    """One row a rule."""
    from metaplastic import rules

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


if __name__ == "__main__":
    cli.run(main)
