"""The table of rules in the guide is that of the rule files."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.lab.figures import rule_table
from metaplastic import rules
from metaplastic.support.recorded import options_of

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "rules.md"


@pytest.mark.parametrize("table", [rule_table.table, rule_table.parts])
def test_the_guide_holds_the_table_as_it_would_be_made_now(table: Callable[[], str]) -> None:
    made = table().strip()
    assert made in GUIDE.read_text(encoding="utf-8")
    assert all(f"`{name}`" in made for name in rules())


@pytest.mark.parametrize("table", [rule_table.table, rule_table.parts])
def test_no_cell_breaks_the_table(table: Callable[[], str]) -> None:
    lines = table().splitlines()
    assert {line.count("|") for line in lines} == {lines[0].count("|")}


def test_a_rule_is_made_again_of_the_parts_that_the_table_names() -> None:
    for name, kind in rules().items():
        row = next(line for line in rule_table.parts().splitlines() if f"| `{name}`" in line)
        for part, said in zip(
            ("pathway", "plasticity", "alignment"), row.split("|")[2:5], strict=True
        ):
            own = getattr(kind(), part)
            module = importlib.import_module(type(own).__module__)
            if "Inverse" not in said:  # its settings are an object of several numbers
                made = eval(said.strip(" `") + ("" if ")" in said else "()"), vars(module))
                assert options_of(made) == options_of(own)
