"""What `mkdocs build` runs beside its own work: pages made of the repository, and their links.

The README is the start, results and cards are pages, the reference and the pages of named rules are
made of the library as it is imported here.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import site_links as links
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from site_api import reference_pages
from site_figures import gallery
from site_rules import rule_pages

from metaplastic.support.catalog import shipped

SCRIPT = re.compile(r"<script\b[^>]*>.*?</script>", re.DOTALL)
LOADS = re.compile(r'mathjax|mermaid|src=""', re.IGNORECASE)
ADDRESSES: dict[str, str] = {}
"""Of every file of the repository that the site shows: its address."""
ORIGINS: dict[str, str] = {}
"""Of every page: the folder of the file that it was made from, from the root of the repository."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add to the navigation what is made of the library, and pages that it does not name."""
    made = {
        "named_rules": sorted(rule_pages()), "api": sorted(reference_pages()),
        "learners": [f"learners/{name}.md" for name in shipped()],
    }  # fmt: skip
    config.nav = [_filled(entry, made) for entry in config.nav or []]
    listed = set(_listed(config.nav))
    docs = Path(config.docs_dir)
    written = [path.relative_to(docs).as_posix() for path in sorted(docs.glob("*.md"))]
    results = [page for page in links.pages().values() if re.match(r"results/.*\.md$", page)]
    for section, there in (("How to", written), ("Results", results)):
        (pages,) = (entry[section] for entry in config.nav if section in entry)
        pages += [page for page in there if page not in listed]
    return config


def _listed(entry: Any) -> Iterator[str]:
    """All pages below an entry of the navigation."""
    if isinstance(entry, str):
        yield entry
    else:
        for value in entry.values() if isinstance(entry, dict) else entry:
            yield from _listed(value)


def _filled(entry: Any, made: dict[str, list[str]]) -> Any:
    if isinstance(entry, dict):
        ((title, value),) = entry.items()
        if isinstance(value, str) and value.endswith("/*"):
            found = made[value.removesuffix("/*")]
            return {title: sorted(found, key=lambda page: not page.endswith("index.md"))}
        return {title: _filled(value, made)}
    return [_filled(one, made) for one in entry] if isinstance(entry, list) else entry


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere in the repository, and those that are made here."""
    texts = {}
    for file in files:
        if file.src_uri.endswith((".md", ".ipynb")):
            ADDRESSES[f"docs/{file.src_uri}"] = file.src_uri
            ORIGINS[file.src_uri] = posixpath.dirname(f"docs/{file.src_uri}")
            if file.src_uri.endswith(".md"):
                texts[file.src_uri] = file.content_string
    for path, address in links.pages().items():
        ADDRESSES[path], ORIGINS[address] = address, posixpath.dirname(path)
        files.append(File.generated(config, address, abs_src_path=str(links.ROOT / path)))
        if address.endswith(".md"):
            texts[address] = (links.ROOT / path).read_text("utf-8")
    for address, text in (reference_pages() | rule_pages() | {"gallery.md": gallery()}).items():
        ORIGINS[address] = posixpath.dirname(address) if address.startswith("api/") else "."
        files.append(File.generated(config, address, content=text))
        texts[address] = text
    for address, text in texts.items():
        for target in links.links(text):
            path = links.resolved(ORIGINS[address], target)
            source = links.ROOT / path
            if path not in ADDRESSES and path not in ORIGINS and source.is_file():
                ADDRESSES[path], ORIGINS[f"source/{path}.md"] = f"source/{path}.md", "."
                page = links.as_page(path)
                files.append(File.generated(config, f"source/{path}.md", content=page))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to files of the repository at their pages."""
    address = page.file.src_uri
    if address.endswith(".ipynb"):
        return markdown

    def address_of(target: str) -> str | None:
        path = links.resolved(ORIGINS[address], target)
        found = ADDRESSES.get(path, path if files.get_file_from_path(path) else None)
        return links.between(address, found) if found else None

    return links.spaced(links.rewritten(markdown, address_of))


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links of a tutorial at pages; drop scripts that would load programs from outside."""
    address = page.file.src_uri
    if not address.endswith(".ipynb"):
        return html

    def to_page(match: re.Match[str]) -> str:
        path = links.resolved(ORIGINS[address], match[1])
        file = files.get_file_from_path(ADDRESSES.get(path, path))
        if file is None:
            return match[0]
        return f'href="{links.between(page.file.dest_uri, file.dest_uri)}'

    html = SCRIPT.sub(lambda match: "" if LOADS.search(match[0]) else match[0], html)
    return re.sub(r'href="([^"#:]+\.(?:md|ipynb))', to_page, html)
