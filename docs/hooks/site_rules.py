"""A page for each named rule, made of the rule itself: no sentence of it is written twice."""

from __future__ import annotations

import inspect
import json
import re

from site_figures import figures

from experiments.lab.figures.rule_table import RECORD
from metaplastic import cite, rules
from metaplastic.rules import parts_of
from metaplastic.rules.credit_rule import CreditRule
from metaplastic.rules.learning_rule import PARTS

FOLDERS = dict(zip(PARTS, ("pathways", "plasticity", "alignment"), strict=True))


def rule_pages() -> dict[str, str]:
    """Address to Markdown: a page for each rule, and the list of them."""
    made = {f"named_rules/{name}.md": rule_page(name) for name in rules()}
    lines = [
        "# Rules by name", "",
        "Each is used as `metaplastic.credit(name, model, example=x)` or",
        "`metaplastic.PlasticModule(model, name, example=x)`; what else they have in common is in",
        "the [guide to rules](docs/rules.md).", "",
        "| rule | equation | local | when to use it |", "|---|---|---|---|",
    ]  # fmt: skip
    for name, kind in rules().items():
        cells = (f"`{kind.formula}`", kind.local, kind.use)
        lines.append(f"| [`{name}`](named_rules/{name}.md) | {' | '.join(map(_cell, cells))} |")
    return made | {"named_rules/index.md": "\n".join(lines) + "\n"}


def rule_page(name: str) -> str:
    """One rule: equation, parts, cost, use, code, what it reached, figures, options, paper."""
    kind = rules()[name]
    module = inspect.getmodule(kind)
    assert module is not None
    rows = {
        "equation": f"`{kind.formula}`",
        "local": kind.local,
        "cost": kind.cost,
        "when to use it": kind.use,
        "other names": ", ".join(f"`{alias}`" for alias in kind.alias) or "none",
    }
    for part, chosen in zip(PARTS, parts_of(name), strict=True):
        own = getattr(kind(), part)
        where = type(own).__module__
        rows[part] = f"[`{chosen}`][{where}.{chosen}]"
    lines = [f"# `{name}`", "", inspect.getdoc(module) or "", ""]
    lines += [f"| rule | `{name}` |", "|---|---|"]
    lines += [f"| {title} | {_cell(text)} |" for title, text in rows.items()]
    lines += ["", LEGEND, "", "## In use", "", "```python", *_code(name, kind), "```", ""]
    lines += _reached(name)
    for figure in figures():
        if name in figure.rules:
            lines += [
                f"![{figure.caption}]({figure.path})", "",
                f"{figure.caption}: [{figure.section}]({figure.page}), by", "",
                "```sh", figure.command, "```", "",
            ]  # fmt: skip
    lines += [
        "## Options and source", "",
        f"::: {module.__name__}.{kind.__name__}", "    options:",
        "      heading_level: 3", "      members: false", "",
        "## Paper", "", "```bibtex", cite(name), "```", "",
    ]  # fmt: skip
    return "\n".join(lines)


LEGEND = (
    "B is a site's feedback, W its weight, d the signal at its output, e the error of the "
    "network's output, x a site's input."
)


def _code(name: str, kind: type[CreditRule]) -> list[str]:
    """Lines that use the rule, as `tests/test_docs_site.py` runs them."""
    if kind.route == "inverse":
        return [
            "import torch",
            "import torch.nn.functional as F",
            "",
            "import metaplastic",
            "from metaplastic.pathways.invertible import narrowing, orthogonal_",
            "",
            "model = orthogonal_(narrowing([20, 20, 8, 3]))",
            "x, y = torch.randn(32, 20).double(), torch.randn(32, 3).double()",
            f'credit = metaplastic.credit("{name}", model, example=x)',
            "opt = torch.optim.Adam(model.parameters(), lr=1e-3)",
            "for _ in range(10):",
            "    opt.zero_grad()",
            "    loss = credit.backward(model, x, y, F.mse_loss)",
            "    opt.step()",
        ]
    return [
        "import torch",
        "from torch import nn",
        "",
        "import metaplastic",
        "",
        "model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3))",
        "x, y = torch.randn(32, 20), torch.randint(3, (32,))",
        f'net = metaplastic.PlasticModule(model, "{name}", example=x, rate=0.01)',
        "for image, label in zip(x.split(1), y.split(1)):",
        "    net(image)",
        "    loss = net.learn(label)",
    ]


def _reached(name: str) -> list[str]:
    record = json.loads(RECORD.read_text("utf-8"))
    lines = ["## What it reached", ""]
    for row in record["table"]:
        if row["rule"] == name:
            lines += [
                "Test accuracy on Fashion-MNIST in percent (20,000 images, three hidden layers of",
                "256 tanh units, five epochs), mean over seeds and their range: "
                f"{row['test %, common x 1']} with the same first weights as all rules, "
                f"{row['test %, chosen']} with those that held-out images preferred.", "",
                record["remark"], "",
            ]  # fmt: skip
    lines += [
        "Beside its pass lines, the rule is in [credit assignment](experiments/results/credit.md).",
        "",
    ]
    return lines


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")
