"""Tables and the figure: accuracy, and its difference from the first method, by strength."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.lab.credit_checks.report import over
from experiments.lab.figures.plots import COLORS, MARKERS, finish, save
from experiments.lab.figures.tables import as_markdown
from experiments.lab.hidden_plasticity.config import TITLES, WhenPlastic
from experiments.lab.runs.run_folder import origin, write_json
from experiments.lab.runs.stored import Run
from metaplastic.evaluate.intervals import Interval, interval

Found = Mapping[str, Mapping[str, Sequence[Run]]]  # by change, by method: a run a seed


def title(method: str) -> str:
    """The name of a method for people."""
    return TITLES.get(method, method)


def gain(runs: Sequence[Run], reference: Sequence[Run], strength: float) -> Interval:
    """The difference in accuracy from the reference, in points, with its 95 % interval.

    Differences are between the same lifetimes of the same seed, and are averaged over seeds; the
    interval is over lifetimes, for these meta-trained learners.
    """
    key = f"{strength:g}"
    pairs = zip(runs, reference, strict=True)
    by_seed = [np.subtract(one["accuracy"][key], other["accuracy"][key]) for one, other in pairs]
    return interval(np.mean(by_seed, axis=0))


def report(config: WhenPlastic, found: Found) -> str:
    """Write table, numbers and figure; the text of the table."""
    first = config.learners[0]
    last = config.seed + config.seeds - 1
    seeds = f"mean over seeds {config.seed} to {last} with their range"
    if config.seeds == 1:
        seeds = f"seed {config.seed}"
    met = "at strengths from 0 to 1" if config.met else "without change"
    lines = [
        origin(),
        f"{config.base} ({' '.join(config.stream) or 'as it is'}); {config.steps} meta-steps of "
        f"{config.tasks} lifetimes {met}; {config.episodes} test lifetimes of new classes at each "
        f"strength. Accuracy in %, {seeds}; difference from {title(first)} in points, "
        "paired by lifetime, with its 95 % interval over lifetimes.",
    ]
    gains: dict[str, dict[str, list[Interval]]] = {}
    for change, by_method in found.items():
        gains[change] = {
            method: [gain(runs, by_method[first], s) for s in config.strengths]
            for method, runs in by_method.items()
        }
        table = [row(config, m, runs, gains[change][m]) for m, runs in by_method.items()]
        lines += [f"**{change}**", as_markdown(table, order=())]
    plot(config.out / "gain.png", config, gains)
    write_json(
        config.out / "results.json",
        {
            "remark": origin(),
            "gains": {
                change: {m: [i.to_dict() for i in found] for m, found in by_method.items()}
                for change, by_method in gains.items()
            },
            "strengths": list(config.strengths),
        },
    )
    text = "\n\n".join(lines)
    (config.out / "table.md").write_text(text + "\n", encoding="utf-8")
    return text


def row(
    config: WhenPlastic, method: str, runs: Sequence[Run], gains: Sequence[Interval]
) -> dict[str, str]:
    shown = {"method": title(method)}
    for strength, found in zip(config.strengths, gains, strict=True):
        key = f"{strength:g}"
        accuracy = over([float(np.mean(run["accuracy"][key])) for run in runs])
        shown[f"at {key}"] = accuracy
        if method != config.learners[0]:
            shown[f"at {key}"] += f"; {found.mean:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"
    if skipped := sum(run["skipped"] for run in runs):
        shown["skipped meta-steps"] = f"{skipped} of {len(runs) * config.steps}"
    shown["s"] = over([run["seconds"] for run in runs])
    return shown


def plot(
    path: Path, config: WhenPlastic, gains: Mapping[str, Mapping[str, Sequence[Interval]]]
) -> None:
    """A panel a change: the gain over the first method against the strength."""
    figure = Figure(figsize=(2.6 * len(gains) + 0.6, 3.4), layout="constrained", dpi=110)
    panels = figure.subplots(1, len(gains), sharey=True, squeeze=False)[0]
    for axes, (change, by_method) in zip(panels, gains.items(), strict=True):
        axes.axhline(0, color="#333333", linewidth=0.8)
        for index, (method, found) in enumerate(by_method.items()):
            if method == config.learners[0]:
                continue
            color, mark = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]
            mean = [each.mean for each in found]
            axes.plot(
                config.strengths, mean, color=color, marker=mark, markersize=4, label=title(method)
            )
            ends = [each.low for each in found], [each.high for each in found]
            axes.fill_between(config.strengths, *ends, color=color, alpha=0.2, lw=0)
        finish(axes, "strength", "", change)
        axes.set_xticks(config.strengths)
    panels[0].set_ylabel(
        "points over readout-only" if config.learners[0] == "readout" else "points"
    )
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    save(figure, path)
