"""Rules for people to read: the table of all, and all that is known of one."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from pathlib import Path

from metaplastic.command.errors import CommandError
from metaplastic.files.card import card_of
from metaplastic.files.rule_file import from_pretrained, located, read_config
from metaplastic.inner.learner import OnlineLearner
from metaplastic.rules import rules
from metaplastic.rules.credit_rule import CreditRule
from metaplastic.rules.learning_rule import LearningRule
from metaplastic.support.catalog import CARD, shipped
from metaplastic.support.choices import did_you_mean


@dataclass(frozen=True)
class Found:
    """A rule by what it was called: a named one has a class, others a learner from a file."""

    name: str
    rule: LearningRule
    kind: type[CreditRule] | None = None
    learner: OnlineLearner | None = None


def rule_named(name: str) -> Found:
    """The rule of a name or alias, of a shipped learner, of a folder, or of the hub.

    Raises:
        CommandError: for a name that is none of these.
        RuleFileError: for a rule file that cannot be read.
        MissingPackageError: for a rule on the hub, without its client.
    """
    known = rules()
    names = {alias: kind for kind in known.values() for alias in kind.alias} | known
    if name in names and not Path(name).exists():
        return Found(name, names[name](), kind=names[name])
    if re.fullmatch(r"[\w.-]*", name) and name not in shipped() and not Path(name).exists():
        raise CommandError(
            f"there is no rule named {name!r}, and no folder of that name; `metaplastic rules` "
            f"lists all.{did_you_mean(name, [*names, *shipped()])}"
        )
    learner = from_pretrained(name)
    return Found(name, learner.rule, learner=learner)


def table_of_rules() -> str:
    """Named rules, then shipped ones, a line each: the name and the three parts."""
    heads = ("named rule", "pathway", "plasticity", "alignment", "also called")
    named = [(name, *kind().parts, ", ".join(kind.alias)) for name, kind in rules().items()]
    files = [
        (name, *(learner := from_pretrained(name)).rule.parts, learner.rule.plasticity.equation())
        for name in shipped()
    ]
    return "\n\n".join(
        [
            _table([heads, *named]),
            _table([("shipped rule", *heads[1:4], "equation"), *files]),
            "`metaplastic show RULE` says more; PlasticModule(model, NAME) learns by a named one, "
            "PlasticModule(model, from_pretrained(NAME).rule) by a shipped one.",
        ]
    )


def text_of(found: Found) -> str:
    """The parts, the equation, and the description of a rule."""
    parts = [f"{found.name}\n{'=' * len(found.name)}", _parts(found.rule)]
    kind = found.kind
    if kind is not None:
        options = [
            f"{name}={parameter.default!r}"
            for name, parameter in inspect.signature(kind).parameters.items()
            if parameter.default is not parameter.empty and name != "plasticity"
        ]
        parts += [
            f"feedback:   {kind.formula}\nlocal:      {kind.local}\ncost:       {kind.cost}\n"
            f"use:        {kind.use}\noptions:    {', '.join(options) or 'none'}",
            inspect.getdoc(kind) or "",
            kind.bibtex,
        ]
    elif found.learner is not None:
        parts.append(card(found.name, found.learner))
    return "\n\n".join(part for part in parts if part)


def card(name: str, learner: OnlineLearner) -> str:
    """The model card beside a rule file, or one of what the file says; without a YAML header."""
    folder = located(name)
    for file in (CARD, "README.md"):
        if (folder / file).is_file():
            text = (folder / file).read_text(encoding="utf-8", errors="replace")
            return re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL).strip()
    return card_of(learner, name, read_config(name)["provenance"]).strip()


def _parts(rule: LearningRule) -> str:
    lines = []
    for what in ("pathway", "plasticity", "alignment"):
        part = getattr(rule, what)
        about = (inspect.getdoc(type(part)) or "").partition("\n")[0]
        lines.append(f"{what + ':':<12}{type(part).__name__}: {about}")
    return "\n".join([*lines, f"{'equation:':<12}{rule.plasticity.equation()}"])


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines = []
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in [*widths, len(row[-1])]))
    return "\n".join(lines)
