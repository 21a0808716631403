"""What people who carry on work with: hooks, templates and make targets agree with one another."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def recipe(target: str) -> str:
    found = re.search(rf"^{target}:[^\n]*\n((?:\t[^\n]*\n)+)", MAKEFILE, re.MULTILINE)
    assert found is not None, target
    return found[1]


def test_hooks_before_a_commit_run_what_make_lint_runs() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed; see the extra `docs`.")
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    (repository,) = config["repos"]
    assert repository["repo"] == "local"  # nothing is fetched
    hooks = [hook["entry"] for hook in repository["hooks"]]
    checks = [part.strip() for part in re.sub(r"[@\t\n]", " ", recipe("lint")).split("&&")]
    assert len(checks) == 3
    for check in checks:
        words = check.replace("$(BIN)", ".venv/bin").removesuffix(" .").split()
        assert any(set(words) <= set(hook.split()) for hook in hooks), check


def test_the_pages_are_built_strictly() -> None:
    assert "mkdocs build --strict" in recipe("docs")
    assert "/site/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()


def test_templates_have_a_name_and_ask_for_what_is_needed() -> None:
    folder = ROOT / ".github" / "ISSUE_TEMPLATE"
    for name, words in (("bug", ("seed", "__version__")), ("feature", ("paper", "tested"))):
        text = (folder / f"{name}.md").read_text("utf-8")
        assert text.startswith("---\nname: ")
        assert all(word in text for word in words)
    assert (folder / "../../CONTRIBUTING.md").resolve().exists()


def test_the_checklist_names_targets_and_bounds_that_are_there() -> None:
    text = (ROOT / "docs" / "releasing.md").read_text("utf-8")
    for target in set(re.findall(r"`make (\w+)", text)):
        recipe(target)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (oldest,) = (line.partition(">=")[2] for line in project["dependencies"] if "torch" in line)
    assert f"torch {oldest} or newer" in text
    assert f"Python {project['requires-python'].removeprefix('>=')} or newer" in text
