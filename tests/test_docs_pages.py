"""The code of pages and of rules' pages runs, and every figure stands beside the command of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from metaplastic import cite, rules

ROOT = Path(__file__).resolve().parent.parent
HOOKS = ROOT / "docs" / "hooks"


@pytest.fixture(scope="module")
def hooks() -> Iterator[dict[str, ModuleType]]:
    """The modules that make pages, imported as MkDocs imports them: by their folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HOOKS))
        names = ("site_links", "site_figures", "site_rules", "site_api")
        yield {name: __import__(name) for name in names}
        for name in names:
            sys.modules.pop(name, None)


def executed(text: str, folder: Path) -> dict[str, Any]:
    known: dict[str, Any] = {"__name__": "page"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            exec(block, known)
    return known


def test_the_concepts_run(tmp_path: Path) -> None:
    known = executed((ROOT / "docs" / "concepts.md").read_text("utf-8"), tmp_path)
    assert known["rule"].parts == rules()["kolen_pollack"]().parts
    assert known["episode"].support_x.shape[:2] == (4, 15)


def test_the_page_on_meta_training_runs(tmp_path: Path) -> None:
    known = executed((ROOT / "docs" / "meta_train.md").read_text("utf-8"), tmp_path)
    assert known["trainer"].step == 20
    assert (tmp_path / "rule" / "config.json").exists()
    for name, value in known["learner"].state_dict().items():
        torch.testing.assert_close(known["again"].state_dict()[name], value)


def test_the_page_on_rules_in_a_network_runs(tmp_path: Path) -> None:
    known = executed((ROOT / "docs" / "use_a_rule.md").read_text("utf-8"), tmp_path)
    assert torch.isfinite(torch.as_tensor(known["loss"]))
    assert known["found"].parts[1] == "Polynomial"


@pytest.mark.parametrize("page", ["concepts", "meta_train", "use_a_rule", "releasing"])
def test_files_and_pages_that_a_page_names_exist(page: str) -> None:
    path = ROOT / "docs" / f"{page}.md"
    text = path.read_text("utf-8")
    for name in re.findall(r"`((?:metaplastic|tests|tasks|experiments)/[\w/.]*)`", text):
        assert (ROOT / name).exists(), name
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (path.parent / link).exists(), link


@pytest.mark.parametrize("name", rules())
def test_the_page_of_a_rule_is_made_of_the_rule(
    name: str, hooks: dict[str, ModuleType], tmp_path: Path
) -> None:
    text, kind = hooks["site_rules"].rule_page(name), rules()[name]
    for said in (kind.formula, kind.cost, kind.use, kind.local, cite(name), *kind.alias):
        assert said in text
    assert f"::: {kind.__module__}.{kind.__name__}" in text
    known = executed(text, tmp_path)
    assert torch.isfinite(torch.as_tensor(known["loss"]))


def test_a_rule_with_a_figure_shows_it(hooks: dict[str, ModuleType]) -> None:
    found = {name for figure in hooks["site_figures"].figures() for name in figure.rules}
    assert found == set(rules())
    text = hooks["site_rules"].rule_page("kolen_pollack")
    assert "(experiments/results/figures/alignment_online.png)" in text
    assert "claim_gait" not in text


def test_the_gallery_shows_every_figure_beside_its_command(hooks: dict[str, ModuleType]) -> None:
    text = hooks["site_figures"].gallery()
    for path in (ROOT / "experiments" / "results" / "figures").glob("*.png"):
        assert f"(experiments/results/figures/{path.name})" in text
    for path in (ROOT / "docs").glob("*.md"):  # no figure of a page is missing there
        for figure in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", path.read_text("utf-8")):
            shown = (path.parent / figure).resolve().relative_to(ROOT).as_posix()
            assert f"({shown})" in text
    for figure in hooks["site_figures"].figures():
        assert figure.command.startswith("python -m experiments.")
        assert re.search(r"20\d\d-\d\d-\d\d", figure.remark), figure
    for path in (ROOT / "docs" / "tutorials").glob("*.ipynb"):
        assert f"docs/tutorials/{path.name}" in text


def test_links_are_changed_in_prose_alone(hooks: dict[str, ModuleType]) -> None:
    links = hooks["site_links"]
    text = "[a](x.md#b) and `[c](x.md)`\n```text\n[d](x.md)\n```\n[e](https://x.md) [f](y.md)"
    changed = links.rewritten(text, lambda target: "z.md" if target == "x.md" else None)
    assert changed == text.replace("[a](x.md#b)", "[a](z.md#b)")
    assert links.links(text) == ["x.md", "y.md"]
    assert links.between("results/a.md", "index.md") == "../index.md"
    assert links.spaced("a sentence\n- one\n- two\n") == "a sentence\n\n- one\n- two\n"
