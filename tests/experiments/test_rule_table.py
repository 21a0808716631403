"""The table of rules in the guide is that of the rule files."""

from __future__ import annotations

from pathlib import Path

from experiments.lab.figures import rule_table
from metaplastic import rules

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "rules.md"


def test_the_guide_holds_the_table_as_it_would_be_made_now() -> None:
    made = rule_table.table().strip()
    assert made in GUIDE.read_text(encoding="utf-8")
    assert all(f"`{name}`" in made for name in rules())


def test_no_cell_breaks_the_table() -> None:
    lines = rule_table.table().splitlines()
    assert {line.count("|") for line in lines} == {lines[0].count("|")}
