"""The house keeps its arrows: read from the imports themselves, so no file can forget."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("metaplastic", "tasks", "experiments")
LONGEST = 250
LAYERS = """
choices coincidence disk catalog seeding distributed buffers patches pullback geometry selectivity
readouts level checkpoint describe sinks intervals few_shot_report continual_measures matrices
report own_matrix trainer_config episode provenance objective
site layers stack
feedback direct sequential direct_random plasticity polynomial invertible inverse
birth unroll rule rows compiled meta_loss
learner
lifetimes snapshots trials meta_gradient divergence identity run_state optimizer
trainer evaluate artifact grow glances interference_matrix interference
references ranges credit_sites reroute credit_rule signs alignment rules
credit_shapes credit_feedback credit_assignment credit_angles credit_exact credit_log
transplant plug_watch plug_loss plug
"""
ORDER = LAYERS.split()  # each knows only those before it


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


def ours(path: Path) -> set[str]:
    return {name for name in imports(path) if name.split(".")[0] in OURS}


@pytest.mark.parametrize("path", sources("metaplastic"), ids=lambda path: path.name)
def test_the_library_knows_neither_tasks_nor_experiments(path: Path) -> None:
    assert not {name for name in ours(path) if not name.startswith("metaplastic")}


def test_every_module_of_the_library_has_its_place_in_the_order() -> None:
    home = ROOT / "metaplastic"
    packages = [path.parent.name for path in home.glob("*/__init__.py")]
    modules = [path.stem for path in home.glob("*.py") if path.stem != "__init__"]
    assert sorted(ORDER) == sorted(modules + packages)


@pytest.mark.parametrize("module", ORDER)
def test_a_module_knows_only_those_before_it_in_the_order(module: str) -> None:
    home, below = ROOT / "metaplastic", ORDER[: ORDER.index(module)]
    alone = home / f"{module}.py"
    files = [alone] if alone.exists() else sources(f"metaplastic/{module}")
    named = {name.split(".")[1] for path in files for name in ours(path) if name.count(".")}
    assert not [name for name in named - {module} if name in ORDER and name not in below]


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


@pytest.mark.parametrize("package", [*OURS, "tests"])
def test_no_file_is_longer_than_one_idea(package: str) -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in sources(package)}
    assert not {name: length for name, length in lengths.items() if length > LONGEST}


@pytest.mark.parametrize("package", [*OURS, "tests"])
def test_every_file_says_what_it_is_for(package: str) -> None:
    silent = [p for p in sources(package) if not ast.get_docstring(ast.parse(p.read_text()))]
    assert not [path for path in silent if path.read_text().strip()]
