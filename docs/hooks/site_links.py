"""Links between pages of the site, whose sources lie in several folders of the repository.

A page keeps the links that its file has, so that they work where the file is read as it is. For
the site every link to a file of the repository becomes one to the page that shows the file: a page
of its own where there is one, or else a page with the file's text.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\[\]]*\])*\])\(([^()\s]+)\)")
FENCE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(`[^`\n]+`)")
LISTED = re.compile(r"(?m)^(?![-*|>#\s]|\d+\. )(.+)\n(?=(?:- |\d+\. )\S)")
LANGUAGES = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".cff": "yaml"}


def pages() -> dict[str, str]:
    """Files of the repository that are a page or a figure of the site: path to address."""
    found = {
        "README.md": "index.md", "CHANGELOG.md": "changelog.md",
        "CONTRIBUTING.md": "contributing.md", "experiments/README.md": "results/index.md",
    }  # fmt: skip
    for path in sorted((ROOT / "experiments" / "results").glob("*.md")):
        found[repository_path(path)] = f"results/{path.name}"
    for path in sorted((ROOT / "experiments" / "results" / "figures").glob("*.png")):
        found[repository_path(path)] = f"results/figures/{path.name}"
    for path in sorted((ROOT / "metaplastic" / "learners").glob("*/CARD.md")):
        found[repository_path(path)] = f"learners/{path.parent.name}.md"
    return found


def repository_path(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(markdown: str) -> Iterator[tuple[bool, str]]:
    """The parts of a page, and whether each is prose: what is in code is no link."""
    for outer, part in enumerate(FENCE.split(markdown)):
        if outer % 2:
            yield False, part
        else:
            for inner, text in enumerate(INLINE.split(part)):
                yield not inner % 2, text


def links(markdown: str) -> list[str]:
    """The relative links of a page, without their anchors."""
    text = "".join("``" if not is_prose else part for is_prose, part in prose(markdown))
    targets = (match[2].partition("#")[0] for match in LINK.finditer(text))
    return [target for target in targets if target and "://" not in target]


def rewritten(markdown: str, address_of: Callable[[str], str | None]) -> str:
    """The page with every relative link replaced by what `address_of` gives for it, if anything."""

    def replaced(match: re.Match[str]) -> str:
        target, hash_sign, anchor = match[2].partition("#")
        if not target or "://" in target:
            return match[0]
        address = address_of(target)
        return match[0] if address is None else f"{match[1]}({address}{hash_sign}{anchor})"

    code: list[str] = []

    def keep(part: str) -> str:
        code.append(part)
        return f"\0{len(code) - 1}\0"

    text = "".join(part if is_prose else keep(part) for is_prose, part in prose(markdown))
    text = LINK.sub(replaced, text)
    return re.sub(r"\0(\d+)\0", lambda match: code[int(match[1])], text)


def resolved(folder: str, target: str) -> str:
    """A link in a file of this folder, as a path from the root of the repository."""
    return posixpath.normpath(posixpath.join(folder, target))


def between(address: str, other: str) -> str:
    """The link from one page of the site to another."""
    return posixpath.relpath(other, posixpath.dirname(address) or ".")


def spaced(markdown: str) -> str:
    """The page with an empty line before each list, which this Markdown needs and others do not."""
    return "".join(
        part if code else LISTED.sub(r"\1\n\n", part)
        for code, part in ((index % 2, part) for index, part in enumerate(FENCE.split(markdown)))
    )


def as_page(path: str) -> str:
    """A page with the text of a file."""
    text = (ROOT / path).read_text(encoding="utf-8")
    language = LANGUAGES.get(Path(path).suffix, "text")
    return f"# `{path}`\n\n```{language}\n{text.rstrip()}\n```\n"
