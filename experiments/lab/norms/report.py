"""What the normalizations came to: a table and the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from experiments.lab.credit_checks.report import over, rounded
from experiments.lab.figures.tables import as_markdown
from experiments.lab.norms.config import NORMS, STARTS, Compare, Setting
from experiments.lab.runs.run_folder import origin, write_json
from experiments.lab.runs.stored import Run

Found = Sequence[tuple[Setting, Sequence[Run]]]
Scores = Mapping[str, Mapping[str, float]]  # held-out accuracy by rate, by name of the cell
CHANCE = 20.0


def report(config: Compare, found: Found, scores: Scores) -> str:
    """Write table and numbers; the table."""
    old = [run["old"] for _, runs in found for run in runs if run["old"] is not None]
    lines = [
        origin(),
        f"ResNet-20, BatchNorm, {config.width} channels in the first stage; CIFAR-10, 8,336-image "
        f"subset. {config.examples} examples of classes 5 to 9, one at a time, then the test "
        f"images of these classes (chance {CHANCE:g} %). Mean over seeds {config.seed} to "
        f"{config.seed + config.seeds - 1}, with their range.",
    ]
    if old:
        lines[-1] += (
            f" Pretraining: classes 0 to 4, {config.epochs} epochs in minibatches of "
            f"{config.batch}, {over(sorted(set(old)))} % on their test images."
        )
    table = [row(setting, runs, scores) for setting, runs in found]
    lines.append(as_markdown(table, order=()))
    write_json(
        config.out / "results.json",
        {
            "remark": origin(), "table": table, "held_out": scores,
            "runs": [{"settings": asdict(setting), "runs": list(runs)} for setting, runs in found],
        },
    )  # fmt: skip
    text = "\n\n".join(lines)
    (config.out / "table.md").write_text(text + "\n", encoding="utf-8")
    return text


def row(setting: Setting, runs: Sequence[Run], scores: Scores) -> dict[str, str]:
    tried = scores[cell(setting)]
    whole = [run for run in runs if not run["diverged"]]
    shown: dict[str, Any] = {
        "start": setting.start,
        "rule": setting.rule.replace("_", "-"),
        "norms": setting.norms,
        "rate": f"{setting.rate:g}",
        "held-out %, by rate": ", ".join(f"{r}: {_held_out(v)}" for r, v in tried.items()),
        "test %": over([run["last"] for run in whole]) if whole else "",
        "test %, by own statistics": "",
        "online %, second half": over([run["online"] for run in whole]) if whole else "",
    }
    if whole and setting.norms == "own":
        shown["test %, by own statistics"] = over([run["alone"] for run in whole])
    if len(whole) < len(runs):
        shown["diverged"] = f"{len(runs) - len(whole)} of {len(runs)}"
    return shown


def _held_out(value: float) -> str:
    return "diverged" if value < 0 else rounded(value)


def cell(setting: Setting) -> str:
    """Start, rule and norms: one row of the table."""
    return f"{setting.start} {setting.rule} {setting.norms}"


def legend() -> str:
    """What the words of the table mean."""
    return "\n".join([*NORMS.values(), *(f"{name}: {said}" for name, said in STARTS.items())])
