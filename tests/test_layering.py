"""The house keeps its arrows: read from the imports themselves, so no file can forget."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("metaplastic", "tasks", "experiments")
LONGEST, MOST = 250, 22
ORDER = [
    {"support"},
    {"traced"},
    {"episode"},
    {"objective"},
    {"sites"},
    {"stacked"},
    {"pathways", "plasticity", "alignment"},
    {"rules"},
    {"inner"},
    {"outer", "evaluate", "online"},
    {"files"},
    {"command"},
]
"""Folders and files of the library; each knows only those of the lines before it, and itself."""


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every module that a file names in an import, relative ones resolved."""
    found: set[str] = set()
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def needed(path: Path) -> set[str]:
    """What of ours a file needs when it runs: not what it imports for a type checker alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]
    skipped = {id(inner) for node in typing for inner in ast.walk(node)}
    return {
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in skipped
        if node.module.split(".")[0] in OURS
    }


def ours(path: Path) -> set[str]:
    return {name for name in imports(path) if name.split(".")[0] in OURS}


@pytest.mark.parametrize("path", sources("metaplastic"), ids=lambda path: path.name)
def test_the_library_knows_neither_tasks_nor_experiments(path: Path) -> None:
    assert not {name for name in ours(path) if not name.startswith("metaplastic")}


def test_every_folder_of_the_library_has_its_place_in_the_order() -> None:
    home = ROOT / "metaplastic"
    folders = [path.parent.name for path in home.glob("*/__init__.py")]
    alone = [path.stem for path in home.glob("*.py") if not path.stem.startswith("_")]
    assert sorted(name for line in ORDER for name in line) == sorted(folders + alone)


@pytest.mark.parametrize("name", [name for line in ORDER for name in sorted(line)])
def test_a_folder_knows_only_those_before_it_in_the_order(name: str) -> None:
    where = next(i for i, line in enumerate(ORDER) if name in line)
    allowed = set().union(*ORDER[:where]) | {name}
    places = set().union(*ORDER)
    alone = ROOT / "metaplastic" / f"{name}.py"
    for path in [alone] if alone.exists() else sources(f"metaplastic/{name}"):
        used = {known.split(".")[1] for known in needed(path) if known.count(".")}
        assert not (used & places) - allowed, path


@pytest.mark.parametrize("package", [*OURS, "tests"])
def test_no_folder_holds_more_than_one_idea(package: str) -> None:
    counts = {
        str(folder.relative_to(ROOT)): len(list(folder.glob("*.py")))
        for folder in (ROOT / package).rglob("*")
        if folder.is_dir()
    }
    assert not {folder: count for folder, count in counts.items() if count > MOST}


@pytest.mark.parametrize("path", sources("tasks"), ids=lambda path: path.name)
def test_tasks_know_of_the_library_only_what_an_episode_is(path: Path) -> None:
    foreign = {name for name in ours(path) if not name.startswith("tasks")}
    assert all(name.startswith("metaplastic.episode") for name in foreign)


@pytest.mark.parametrize("path", sources("metaplastic"), ids=lambda path: path.name)
def test_the_library_never_prints(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not any(isinstance(c.func, ast.Name) and c.func.id == "print" for c in calls)


def test_the_library_needs_only_its_declared_packages() -> None:
    named = {name.split(".")[0] for path in sources("metaplastic") for name in imports(path)}
    optional = named & {"PIL", "matplotlib", "rich", "tyro", "wandb", "tensorboard", "higher"}
    assert not optional


def test_the_compiler_is_imported_when_something_is_compiled() -> None:
    code = "import sys, metaplastic; print(*sys.modules)"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert "torch" in loaded
    assert not loaded & {"torch._dynamo", "torch._functorch.config"}  # slow to import


@pytest.mark.parametrize("package", [*OURS, "tests"])
def test_no_file_is_longer_than_one_idea(package: str) -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in sources(package)}
    assert not {path: length for path, length in lengths.items() if length > LONGEST}


@pytest.mark.parametrize("package", [*OURS, "tests"])
def test_every_file_says_what_it_is_for(package: str) -> None:
    silent = [p for p in sources(package) if not ast.get_docstring(ast.parse(p.read_text()))]
    assert not [path for path in silent if path.read_text().strip()]
