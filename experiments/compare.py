"""Compare methods: the same stream, network, meta-training time and seeds, in one table.

    python -m experiments.compare --methods flp flp_readout oml scratch --minutes 5 --jobs 2

Finished runs are kept and interrupted ones are resumed when the same command is given again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from experiments.lab.figures.tables import as_markdown, over_seen, rows
from experiments.lab.runs.jobs import RunsFailedError, run_all
from experiments.lab.runs.run_folder import RunFolder, origin, read_json, read_lines, write_json
from experiments.lab.settings import cli
from experiments.lab.settings.config import Compare, MetaTraining, Train, preset
from experiments.lab.settings.registry import ConfigError

if TYPE_CHECKING:
    from experiments.lab.runs.jobs import Check

Groups: TypeAlias = Mapping[str, Sequence[Train]]  # the runs of every method, one a seed
OF_STREAM = ("train.", "test.")  # prefixes of options that apply to one method's stream


def main(argv: Sequence[str]) -> None:
    config = cli.parse(Compare, argv, preset(Compare, argv))

    def write_report(groups: Groups, lost: str) -> None:
        root = config.runs / config.name
        results = plot_results(groups, root / "plots")
        remark = f"{origin(config.device)}{commits_remark(groups)}{lost}"
        text = write_tables(root, [rows(results), over_seen(results)], remark)
        print(f"{text}\n\nPlots, rules and records are in {root}.")

    run_methods(config, write_report)


def run_methods(
    config: Compare, write_report: Callable[[Groups, str], None], check: Check | None = None
) -> None:
    """Complete all runs and call `write_report` with the finished ones, by method.

    If runs failed, the report has a remark on their number.
    """
    groups = plan_runs(config)
    runs = [run for group in groups.values() for run in group]
    try:
        run_all(runs, config.jobs, config.name, check)
    except RunsFailedError as error:
        kept = {
            label: finished
            for label, group in groups.items()
            if (finished := [run for run in group if run not in error.failed])
        }
        if kept:
            write_report(kept, f" {len(error.failed)} of {len(runs)} runs failed and are omitted.")
        raise
    write_report(groups, "")


def commits_remark(groups: Groups) -> str:
    """A remark if runs were made at another commit than the table."""
    from metaplastic.files.provenance import provenance

    records = [RunFolder(run.runs / run.run_name) for runs in groups.values() for run in runs]
    facts = (read_json(run.root / "environment.json", "run it again") for run in records)
    commits = {fact.get("git_commit", "") for fact in facts}
    if commits == {provenance().get("git_commit", "")}:
        return ""
    return f" Runs made at commit {', '.join(sorted({commit[:10] for commit in commits}))}."


def plot_results(groups: Groups, plots: Path) -> dict[str, list[dict[str, Any]]]:
    """The results of finished runs of several methods on one stream; also plots them."""
    from experiments.lab.figures.curves import (  # matplotlib, for --help, is slow
        plot_lifetimes,
        plot_training,
    )

    folders = {
        label: [RunFolder(run.runs / run.run_name) for run in runs]
        for label, runs in groups.items()
    }
    results = {label: [run.results() for run in runs] for label, runs in folders.items()}
    plot_lifetimes(plots, results)
    plot_training(
        plots, {label: [read_lines(run.metrics) for run in runs] for label, runs in folders.items()}
    )
    return results


def write_tables(
    root: Path, tables: Sequence[Sequence[Mapping[str, str]]], remark: str = ""
) -> str:
    """Write tables as JSON and as markdown, with a remark above; returns the markdown."""
    tables = [table for table in tables if table]
    write_json(root / "table.json", {"remark": remark, "tables": [list(t) for t in tables]})
    text = "\n\n".join(part for part in (remark, *map(as_markdown, tables)) if part)
    (root / "table.md").write_text(text + "\n", encoding="utf-8")
    return text


def plan_runs(config: Compare) -> dict[str, list[Train]]:
    """The runs of every method, one per seed.

    `METHOD,option=value,train.option=value`: options of the method, and options of the stream that
    apply to its meta-training (`train.`) or test (`test.`) alone. A comma without a `name=` after
    it is part of the value, as in `channels=16,32`.
    """
    if not config.methods:
        raise ConfigError("--methods is empty: give one method or more; --help lists them.")
    shared = {field.name: getattr(config, field.name) for field in fields(MetaTraining)}
    groups: dict[str, list[Train]] = {}
    folders: set[str] = set()
    for label in config.methods:
        method, _, rest = label.partition(",")
        options = re.split(r",(?=[\w.]+=)", rest) if rest else []
        stream_options = tuple(option for option in options if option.startswith(OF_STREAM))
        method_options = tuple(option for option in options if option not in stream_options)
        run = Train(**shared, method=method, options=method_options)
        run = replace(run, stream=(*run.stream, *stream_options))  # the last of a name counts
        folder = "-".join([method, *options]).replace("=", "_").replace(",", "-")
        if folder in folders:
            raise ConfigError(f"--methods names {label} twice: omit one of the two.")
        folders.add(folder)
        groups[label] = [
            replace(run, seed=seed, name=f"{config.name}/{folder}-seed{seed}")
            for seed in range(config.seed, config.seed + config.seeds)
        ]
    return groups


if __name__ == "__main__":
    cli.run(main, again="the same command resumes.")
