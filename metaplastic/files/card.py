"""Model cards: what a rule is, where it comes from, and how it is loaded, for people to read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from metaplastic.inner.learner import OnlineLearner

TAGS = ("metaplastic", "meta-learning", "local-plasticity", "online-learning")
FACTS = ("method", "data", "split", "seed", "command", "date", "torch", "metaplastic", "git_commit")
"""Of the provenance, in the order of a card; others are left to config.json."""


def header(license: str | None = None, tags: Sequence[str] = ()) -> str:
    """The YAML in front of a card of the hub; JSON strings are YAML strings."""
    lines = ["---", "library_name: metaplastic", "tags:"]
    lines += [f"- {json.dumps(tag)}" for tag in dict.fromkeys((*TAGS, *tags))]
    if license is not None:
        lines.append(f"license: {json.dumps(license)}")
    return "\n".join([*lines, "---", ""])


def card_of(learner: OnlineLearner, name: str, provenance: Mapping[str, Any]) -> str:
    """A card of what the rule file itself says."""
    rule, sites = learner.rule, learner.sites
    pathway, plasticity, alignment = rule.parts
    parts = [
        f"# {name.rpartition('/')[2]}",
        "A learning rule of three parts, for [metaplastic](https://pypi.org/project/metaplastic): "
        f"pathway `{pathway}`, plasticity `{plasticity}`, alignment `{alignment}`.",
    ]
    parts.append(f"    {rule.plasticity.equation()}")
    shapes = ", ".join(f"`{site.name}` {'x'.join(map(str, site.shape))}" for site in sites)
    parts += [
        f"Meta-learned in a network whose plastic sites are {shapes}.",
        f'```python\nfrom metaplastic import from_pretrained\n\nlearner = from_pretrained("{name}")'
        "\nrule = learner.rule  # for a network of your own: PlasticModule(model, rule)\n```",
    ]
    facts = [f"| {fact} | {_cell(provenance[fact])} |" for fact in FACTS if fact in provenance]
    if facts:
        parts.append("\n".join(["| provenance | |", "|---|---|", *facts]))
    parts.append(
        "Only `config.json` and `model.safetensors` are read, and both are checked by sha256; "
        "loading them runs no code."
    )
    return "\n\n".join(parts) + "\n"


def _cell(value: object) -> str:
    text = " ".join(str(value).split()).replace("|", "\\|").replace("`", "'")
    return f"`{text}`"
