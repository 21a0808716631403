"""The site is whole: every public name has a page, no link is broken, all of it is local."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

import metaplastic
from metaplastic import rules

ROOT = Path(__file__).resolve().parent.parent
HOME = Path(metaplastic.__file__).parent
LOADED = {
    "script": ("src",), "img": ("src", "srcset"), "iframe": ("src",), "source": ("src", "srcset"),
    "video": ("src",), "audio": ("src",), "object": ("data",), "embed": ("src",), "input": ("src",),
}  # fmt: skip
"""Attributes by which a page loads something; those of `link` depend on its `rel`."""


def public_modules() -> Iterator[ModuleType]:
    for path in sorted(HOME.rglob("*.py")):
        parts = path.relative_to(HOME).with_suffix("").parts
        if not any(part.startswith("_") and part != "__init__" for part in parts):
            name = ".".join(("metaplastic", *parts)).removesuffix(".__init__")
            yield importlib.import_module(name)


@cache
def public_names() -> dict[str, Any]:
    """Functions, classes and public members by full name, of all public modules and `__all__`."""
    found: dict[str, Any] = {}
    for module in public_modules():
        listed = [(name, getattr(module, name)) for name in getattr(module, "__all__", ())]
        own = [
            (name, value)
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
        ]
        for name, value in [*listed, *own]:
            at = getattr(value, "__module__", "")
            described = inspect.isclass(value) or callable(value)
            if not described or not at.startswith("metaplastic"):
                continue
            found[f"{at}.{value.__name__ if hasattr(value, '__name__') else name}"] = value
            for member in vars(value) if inspect.isclass(value) else ():
                raw = vars(value)[member]
                kinds = property | classmethod | staticmethod
                if not member.startswith("_") and (
                    inspect.isfunction(raw) or isinstance(raw, kinds)
                ):
                    found[f"{at}.{value.__name__}.{member}"] = getattr(value, member)
    return found


def test_every_public_name_has_a_docstring() -> None:
    assert len(public_names()) > 500
    assert not [name for name, value in public_names().items() if not inspect.getdoc(value)]
    assert not [module.__name__ for module in public_modules() if not module.__doc__]


def test_every_alias_in_all_is_explained_where_it_is_written() -> None:
    for module in public_modules():
        for name in getattr(module, "__all__", ()):
            if not getattr(getattr(module, name), "__module__", "").startswith("metaplastic"):
                texts = [path.read_text("utf-8") for path in HOME.rglob("*.py")]
                explained = re.compile(rf'^{name}(: \w+)? = [^\n]+\n"""', re.MULTILINE)
                assert any(explained.search(text) for text in texts), name


class Page(HTMLParser):
    """What a page links to, what it loads, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self.links += [given["href"]] if tag == "a" and "href" in given else []
        self.loads += [given[name] for name in LOADED.get(tag, ()) if name in given]
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(given.get("href", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it, but for the outputs of tutorials."""
    for package in ("mkdocs", "material", "mkdocstrings", "mkdocs_jupyter"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed, so no pages are built; see the extra `docs`.")
    out = tmp_path_factory.mktemp("site")
    environment = {
        **os.environ, "RUN_TUTORIALS": "false", "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)],
        cwd=ROOT, env=environment, check=False, timeout=500, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text("utf-8")) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_every_public_name_is_on_a_page_of_the_reference(site: Path) -> None:
    inventory = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    listed = {
        line.split(" ")[0]: line.split(" ")[3].partition("#")[0]
        for line in zlib.decompress(inventory).decode().splitlines()
    }
    # A method that only overrides a documented one is shown with its base class.
    shown = [
        name
        for name, value in public_names().items()
        if not hasattr(value, "__doc__") or value.__doc__
    ]
    assert not [name for name in shown if name not in listed]
    names = [f"metaplastic.{name}" for name in metaplastic.__all__]
    start = (site / "api" / "index.html").read_text("utf-8")
    assert not [name for name in names if f"<code>{name.split('.')[-1]}</code>" not in start]


@pytest.mark.slow
def test_no_link_is_broken(site: Path, pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchors = pages[target].anchors if target in pages else {"", parts.fragment}
            if not target.exists() or unquote(parts.fragment) not in anchors:
                broken.append(f"{path.relative_to(site)} -> {link}")
    assert not broken


@pytest.mark.slow
def test_nothing_is_loaded_from_the_network(site: Path, pages: dict[Path, Page]) -> None:
    outside = {
        f"{path.relative_to(site)}: {link}"
        for path, page in pages.items()
        for link in page.loads
        if urlsplit(link).netloc
    }
    assert not outside
    for path in site.rglob("*.css"):
        text = path.read_text("utf-8")
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", text), path
    for path, page in pages.items():
        for link in page.loads:  # what is loaded is there
            if not urlsplit(link).scheme and path.name != "404.html":
                assert (path.parent / unquote(urlsplit(link).path)).exists(), (path, link)
    # The theme would fetch a program for such drawings, and fonts by these names.
    text = "".join(path.read_text("utf-8") for path in pages)
    assert 'class="mermaid"' not in text
    assert '<script src="">' not in text
    assert not [name for name in ("cdnjs", "unpkg.com", "jsdelivr") if name in text]
    assert "fonts.googleapis" not in text


@pytest.mark.slow
def test_pages_that_the_site_promises_are_there(site: Path) -> None:
    for name in rules():
        assert (site / "named_rules" / f"{name}.html").exists()
    for path in (ROOT / "experiments" / "results").glob("*.md"):
        assert (site / "results" / f"{path.stem}.html").exists()
    for path in (ROOT / "docs" / "tutorials").glob("*.ipynb"):
        assert (site / "tutorials" / f"{path.stem}.html").exists()
    gallery = (site / "gallery.html").read_text("utf-8")
    figures = list((ROOT / "experiments" / "results" / "figures").glob("*.png"))
    assert all(f"results/figures/{path.name}" in gallery for path in figures)
    assert not (site / "hooks").exists()
