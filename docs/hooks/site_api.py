"""The pages of the reference: one for the package, one for each of its folders."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import ModuleType

import metaplastic
from metaplastic.support.catalog import shipped

HOME = Path(metaplastic.__file__).parent


def modules() -> dict[str, list[str]]:
    """Public modules by the page that describes them, folders in the order of the alphabet."""
    found: dict[str, list[str]] = {}
    for path in sorted(HOME.rglob("*.py")):
        parts = path.relative_to(HOME).with_suffix("").parts
        name = ".".join(("metaplastic", *parts))
        if parts == ("__init__",) or any(part.startswith("_") for part in parts[:-1]):
            continue
        if parts[-1] == "__init__":
            found.setdefault(parts[0], []).insert(0, name.removesuffix(".__init__"))
        elif not parts[-1].startswith("_"):
            found.setdefault(parts[0], []).append(name)
    return found


def reference_pages() -> dict[str, str]:
    """Address to Markdown."""
    made = {"api/index.md": _package()}
    for page, names in modules().items():
        lines = [f"# `metaplastic.{page}`", ""]
        for name in names:
            lines += [f"::: {name}", "    options:"]
            if name == f"metaplastic.{page}":
                lines.append("      show_root_heading: false")
                if (HOME / page).is_dir():  # not what it only imports from its files
                    lines.append(f"      members: {_own(name) or 'false'}")
            lines += ["      show_bases: true", ""]
        made[f"api/{page}.md"] = "\n".join(lines)
    return made


def _package() -> str:
    lines = [
        "# `metaplastic`", "", inspect.getdoc(metaplastic) or "", "",
        "| name | what it is |", "|---|---|",
    ]  # fmt: skip
    for name in sorted(metaplastic.__all__, key=str.lower):
        lines.append(f"| [`{name}`][{defined_at(name)}] | {summary(name)} |")
    lines += ["", "Folders of the package:", "", "| folder | what it is |", "|---|---|"]
    for page in modules():
        text = (HOME / page / "__init__.py") if (HOME / page).is_dir() else HOME / f"{page}.py"
        first = _first(inspect.cleandoc(text.read_text("utf-8").split('"""')[1]))
        lines.append(f"| [`metaplastic.{page}`]({page}.md) | {first} |")
    lines += ["", "Learners that come with the package, by `from_pretrained(name)`:", ""]
    lines += [f"- [`{name}`](../learners/{name}.md)" for name in shipped()]
    return "\n".join(lines) + "\n"


def _own(name: str) -> list[str]:
    """The public functions and classes that a module defines."""
    found = vars(importlib.import_module(name)).items()
    return [
        key
        for key, value in found
        if not key.startswith("_") and getattr(value, "__module__", "") == name
    ]


def defined_at(name: str) -> str:
    """The full name by which the reference knows a name of the package."""
    value = getattr(metaplastic, name)
    if isinstance(value, ModuleType) or not hasattr(value, "__module__"):
        raise LookupError(f"{name} has no module of its own, so the reference cannot link it.")
    module = getattr(value, "__module__", "")
    if not module.startswith("metaplastic"):  # an alias of types, found where it is written
        (module,) = {
            f"metaplastic.{'.'.join(path.relative_to(HOME).with_suffix('').parts)}"
            for path in HOME.rglob("*.py")
            if f"\n{name}:" in path.read_text("utf-8") or f"\n{name} =" in path.read_text("utf-8")
        }
    return f"{module}.{name}"


def summary(name: str) -> str:
    """The first sentence of the description of a name."""
    value = getattr(metaplastic, name)
    own = inspect.isclass(value) or inspect.isfunction(value)
    if not own:
        return "an alias of types"
    return _first(inspect.getdoc(value) or "")


def _first(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split()).replace("|", "\\|")
