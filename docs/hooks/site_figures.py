"""Every figure of the site with the command that made it, and the gallery that shows them all.

Read from the pages: a figure belongs to the last command above it, to the section, and to the rules
that are named between the command and the figure.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from site_links import ROOT, repository_path

from experiments.lab.credit_checks.claims import claim
from metaplastic import rules

FIGURE = re.compile(r"^!\[([^\]]*)\]\(([^)]+)\)", re.MULTILINE)
COMMAND = re.compile(r"`(python -m [^`]+)`")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
ALSO: dict[str, tuple[str, ...]] = {
    "claim_gait": ("gait_prop", "rescaled_gait_prop"),
    "claim_mirror": ("mirror_regularizer",),
    "claim_signs": ("uniform_sign", "fixed_random_sign", "batchwise_random_sign"),
}
"""Rules of a figure whose text has no full name of them."""


@dataclass(frozen=True)
class Figure:
    """A figure, where it stands, and what made it.

    `page` and `path` are from the root of the repository; `remark` is what follows the command on
    its line: date, machine and versions.
    """

    page: str
    path: str
    caption: str
    section: str
    command: str
    remark: str
    rules: tuple[str, ...]


def figures() -> list[Figure]:
    """All figures of the results, in the order of the pages.

    Raises:
        LookupError: for a figure with no command above it.
    """
    found = []
    for page in sorted((ROOT / "experiments" / "results").glob("*.md")):
        text = page.read_text("utf-8")
        for match in FIGURE.finditer(text):
            before = text[: match.start()]
            heading = list(HEADING.finditer(before))[-1]
            commands = list(COMMAND.finditer(before))
            if not commands:
                raise LookupError(f"{page.name} shows {match[2]}, but no command stands above it.")
            rest = before[commands[-1].end() :].partition("\n\n")[0].strip(" :\n")
            path = repository_path((page.parent / match[2]).resolve())
            section = before[max(heading.start(), commands[-1].start()) :]
            named = {name for name in rules() if _names(section, name)}
            named |= set(ALSO.get(Path(path).stem, ()))
            found.append(
                Figure(
                    page=repository_path(page), path=path, caption=_caption(path, match[1]),
                    section=heading[1], command=commands[-1][1],
                    remark=" ".join(rest.split()), rules=tuple(sorted(named)),
                )
            )  # fmt: skip
    return found


def _caption(path: str, said: str) -> str:
    """What the page says of a figure; of a claim's, the claim."""
    name = Path(path).stem
    text = claim(name.removeprefix("claim_")).sentence if name.startswith("claim_") else said
    return text[0].upper() + text[1:].rstrip(".")


def _names(text: str, rule: str) -> bool:
    words = rule.replace("_", "[ _-]")
    return re.search(rf"(?<!direct[ _-])(?<!product[ _-])\b{words}\b", text, re.I) is not None


def tutorials() -> list[tuple[str, str, int]]:
    """Of each tutorial: its file, its title, and how many of its cells show a figure."""
    found = []
    for path in sorted((ROOT / "docs" / "tutorials").glob("*.ipynb")):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        title = "".join(cells[0]["source"]).partition("\n")[0].lstrip("# ")
        count = sum("figure" in cell["metadata"].get("tags", ()) for cell in cells)
        found.append((path.name, title, count))
    return found


def gallery() -> str:
    """The page with every figure, in Markdown."""
    lines = [
        "# Figures", "",
        "Every figure of these pages, with the command that made it. All of the first part are",
        "drawn in one style (`experiments/lab/figures/`): colors that the color-blind can tell",
        "apart (Okabe & Ito), markers or dashes beside them, intervals where runs are several.",
        "A figure is as it was when its command was run: names in it may be of that time.", "",
    ]  # fmt: skip
    page = ""
    for figure in figures():
        if figure.page != page:
            page = figure.page
            title = HEADING.search((ROOT / page).read_text("utf-8"))
            lines += [f"## {title[1] if title else page}", ""]
        lines += [
            f"### {figure.caption}", "",
            f"![{figure.caption}]({figure.path})", "",
            "```sh", figure.command, "```", "",
            f"{figure.remark} Discussed in [{figure.section}]({figure.page}).", "",
        ]  # fmt: skip
    lines += [
        "## Figures of the tutorials", "",
        "These are drawn anew at every build of the pages, `make docs`. One tutorial alone is run",
        "by the command beside it.", "",
        "| tutorial | figures | command |", "|---|---|---|",
    ]  # fmt: skip
    for name, title, count in tutorials():
        command = f"jupyter nbconvert --to html --execute docs/tutorials/{name}"
        lines.append(f"| [{title}](docs/tutorials/{name}) | {count} | `{command}` |")
    return "\n".join(lines) + "\n"
