"""What alignment runs came to: a table, the numbers and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.lab.alignment.config import LABELS, NETWORKS, WAYS, Align, Setting
from experiments.lab.alignment.tuning import ALIGNED, OTHER_SEED
from experiments.lab.credit_checks.report import over
from experiments.lab.figures.plots import COLORS, finish, save
from experiments.lab.figures.tables import as_markdown
from experiments.lab.runs.run_folder import origin, write_json
from experiments.lab.runs.stored import Run

Found = Sequence[tuple[Setting, Sequence[Run]]]
Tried = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
SETS = {"fashion_mnist": "Fashion-MNIST", "mnist": "MNIST"}
CONTROL = "#999999"  # feedback that stays as it is


def report(config: Align, found: Found, tried: Tried) -> str:
    """Write table, numbers and figure; the table."""
    lines = [
        origin(),
        f"{config.examples} examples of {SETS[config.data_set]}, one at a time, rate "
        f"{config.rate:g}; mean over seeds {config.seed} to {config.seed + config.seeds - 1}, with "
        "their range. Angles in degrees.",
    ]
    tables = {}
    for network in config.networks:
        here = [(setting, runs) for setting, runs in found if setting.network == network]
        tables[network] = [row(setting, runs) for setting, runs in here]
        lines += [f"**{NETWORKS[network]}**", as_markdown(tables[network], order=())]
    if tried:
        lines += [
            f"Settings tried on {SETS[config.tune_set]}, seed {config.seed + OTHER_SEED}, online, "
            f"where a default diverges or ends above {ALIGNED:g} degrees. Of each the first, by "
            "the delta angle, is chosen.",
            as_markdown(tried_rows(tried), order=()),
        ]
    plot(config.out / "alignment_online.png", config, found)
    write_json(
        config.out / "results.json",
        {
            "remark": origin(), "tables": tables,
            "runs": [{"settings": asdict(setting), "runs": list(runs)} for setting, runs in found],
            "tried": {" ".join(key): list(rows) for key, rows in tried.items()},
        },
    )  # fmt: skip
    text = "\n\n".join(lines)
    (config.out / "table.md").write_text(text + "\n", encoding="utf-8")
    return text


def row(setting: Setting, runs: Sequence[Run]) -> dict[str, str]:
    """Of one setting: angles at both ends, norms, accuracy; of runs that diverged, when."""
    shown = {"rule": setting.label, "learning": setting.way}
    lost = [run["diverged"] for run in runs if run["diverged"]]
    whole = [run for run in runs if not run["diverged"]]
    shown["angle W to B, first"] = over([run["angle"][0] for run in runs])
    for name in ("angle W to B, last", f"examples to {ALIGNED:g}°", "norm of B over W"):
        shown[name] = ""
    if whole:
        shown["angle W to B, last"] = over([run["angle"][-1] for run in whole])
        shown[f"examples to {ALIGNED:g}°"] = reached(whole)
        shown["norm of B over W"] = over([run["ratio"][-1] for run in whole])
        shown["delta angle, first"] = over([run["delta"][0] for run in whole])
        shown["delta angle, last"] = over([run["delta"][1] for run in whole])
        shown["accuracy %, last 200"] = over([run["accuracy"] for run in whole])
    if lost:
        shown["diverged"] = f"{len(lost)} of {len(runs)}, at example {', '.join(map(str, lost))}"
    return shown


def reached(runs: Sequence[Run]) -> str:
    """After how many examples the mean angle stays below the line."""
    first = []
    for run in runs:
        above = [step for step, a in zip(run["steps"], run["angle"], strict=True) if a > ALIGNED]
        later = [step for step in run["steps"] if not above or step > above[-1]]
        first += later[:1]
    if not first:
        return "never"
    return over(first) + ("" if len(first) == len(runs) else f" ({len(first)} of {len(runs)})")


def tried_rows(tried: Tried) -> list[dict[str, str]]:
    table = []
    for (rule, network), rows in tried.items():
        for one in rows:
            options = ", ".join(f"{key} {value}" for key, value in one["options"].items())
            shown = {"rule": LABELS[rule], "network": network, "setting": options or "default"}
            if one["diverged"]:
                shown["angle W to B, last"] = f"diverged at example {one['diverged']}"
            else:
                shown["angle W to B, last"] = f"{one['angle']:.1f}"
                shown["delta angle, last"] = f"{one['delta']:.1f}"
                shown["norm of B over W"] = f"{one['ratio']:.3g}"
                shown["accuracy %, last 200"] = f"{one['accuracy']:.1f}"
            table.append(shown)
    return table


def plot(path: Path, config: Align, found: Found) -> None:
    """A panel for each network and way of learning, a line for each rule, its range over seeds."""
    figure = Figure(figsize=(10.0, 4.0 * len(config.networks)), layout="constrained", dpi=110)
    grid = figure.subplots(len(config.networks), len(config.ways), squeeze=False, sharey=True)
    for panels, network in zip(grid, config.networks, strict=True):
        for axes, way in zip(panels, config.ways, strict=True):
            for setting, runs in found:
                if (setting.network, setting.way) == (network, way):
                    _line(axes, setting, runs)
            finish(axes, "examples", "angle between W and B, degrees", "")
            axes.set_title(f"{NETWORKS[network]}\n{WAYS[way]}", fontsize=9, loc="left")
            axes.axhline(90, color="#999999", linewidth=0.8, linestyle=":")
            axes.set_ylim(-2, 105)
            axes.label_outer()
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    figure.suptitle(
        "Solid: defaults. Dashed: settings chosen on another data set. Dash-dotted: weights decay "
        "as the feedback does.\nMean over sites and seeds, range over seeds; x: a seed diverged.",
        fontsize=8,
    )
    save(figure, path)


def _line(axes: Axes, setting: Setting, runs: Sequence[Run]) -> None:
    names = list(LABELS)
    fixed = setting.rule == "feedback_alignment"
    color = CONTROL if fixed else COLORS[names.index(setting.rule) % len(COLORS)]
    dash = "--" if setting.options else "-." if setting.weight_decay else "-"
    dash = ":" if fixed else dash
    count = min(len(run["steps"]) for run in runs)
    values = np.asarray([run["angle"][:count] for run in runs])
    steps = runs[0]["steps"][:count]
    label = LABELS[setting.rule] if dash in "-:" else None
    axes.plot(steps, values.mean(0), dash, color=color, label=label, linewidth=1.5)
    axes.fill_between(steps, values.min(0), values.max(0), color=color, alpha=0.15, lw=0)
    if any(run["diverged"] for run in runs):
        axes.plot(steps[-1:], values.mean(0)[-1:], "x", color=color, markersize=7)
