"""Continual learning of hundreds of classes: accuracy against the number learned, by method.

    python -m experiments.continual --methods flp_readout oml anml --classes 10,100,600 --minutes 5

Meta-trains every method on the same data for the same time, adapts each to the test classes in one
pass, and plots accuracy on held-out images and on the training images (the trajectory).
Finished runs are kept and interrupted ones are resumed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

from typing_extensions import Doc

from experiments.compare import Groups, commits_remark, run_methods, write_tables
from experiments.lab.figures.tables import over_seeds
from experiments.lab.runs.run_folder import RunFolder, origin, read_lines
from experiments.lab.settings import cli
from experiments.lab.settings.config import NAMED, Compare, Train, preset
from experiments.lab.settings.registry import ConfigError

if TYPE_CHECKING:
    from metaplastic import OnlineLearner, TaskStream

METHODS = (
    "flp_stable", "flp_readout", "flp_random_feedback", "flp_frozen", "oml", "oml_one_layer",
    "oml_first_order", "anml", "maml_rep", "pretrained", "pretrained_readout", "scratch",
    "prototypes", "prototypes_cosine",
)  # fmt: skip
# As in `experiments.lab.runs.sweep`, which imports torch and is not needed for --help.
POSSIBLE = (
    "in a test of up to 50 classes any, in a longer one 10, 50, 75, 100, 150, 200, 300, 400, 500, "
    "600 and all of them"
)
OFFLINE = (
    "{} is not evaluated while it learns: this script needs online learners on classes in order; "
    "use compare for others."
)


@dataclass(frozen=True, kw_only=True)
class Continual(Compare):
    """Meta-train several methods and evaluate each on hundreds of classes in one pass."""

    task: Annotated[str, Doc("a file in tasks, with classes in sequence")] = "split_omniglot"
    methods: Annotated[tuple[str, ...], Doc(NAMED)] = METHODS
    classes: Annotated[str, Doc(f"numbers of classes in the table: {POSSIBLE}")] = "10,100,600"
    name: Annotated[str, Doc("of the comparison; runs that it already holds are kept")] = (
        "continual"
    )


def main(argv: Sequence[str]) -> None:
    config = cli.parse(Continual, argv, preset(Continual, argv))
    shown = counts(config.classes)
    if config.order != "incremental":
        raise ConfigError(
            f"--order {config.order} shuffles the classes, which this script needs in sequence: "
            "use --order incremental."
        )

    def write_report(groups: Groups, lost: str) -> None:
        from experiments.lab.figures.curves import (  # matplotlib is slow for --help
            plot_classes,
            plot_training,
        )

        folders = {
            label: [RunFolder(run.runs / run.run_name) for run in runs]
            for label, runs in groups.items()
        }
        root = config.runs / config.name
        results = {label: [run.results() for run in runs] for label, runs in folders.items()}
        require_evaluated(shown, results)
        plot_classes(root / "plots", results)
        lines = {
            label: [read_lines(run.metrics) for run in runs] for label, runs in folders.items()
        }
        plot_training(root / "plots", lines)
        remark = f"{origin(config.device)}{commits_remark(groups)}{lost}"
        text = write_tables(root, [rows(results, shown)], remark)
        print(f"{text}\n\nFigures, rules and records are in {root}.")

    run_methods(config, write_report, partial(require_possible, shown))


def counts(text: str) -> list[int]:
    """`10,100,600` as increasing numbers."""
    words = [word for part in text.split(",") for word in part.split() or [""]]
    if not all(re.fullmatch("0*[1-9][0-9]{0,8}", word) for word in words):
        raise ConfigError(f"--classes is {text!r}: write numbers of classes, as in 10,100,600.")
    return sorted({int(word) for word in words})


def require_possible(
    shown: Sequence[int], run: Train, stream: TaskStream, learner: OnlineLearner
) -> None:
    """Raise ConfigError before a run if its table could not be made."""
    from experiments.lab.runs.evaluation import MANY
    from experiments.lab.runs.sweep import class_counts

    spec = stream.spec
    if spec.kind != "classification":
        raise ConfigError(
            f"task {run.task!r} has no classes: choose one that has, such as "
            "split_omniglot, or use compare."
        )
    label = " ".join([run.method, *run.options])
    if not learner.online:
        raise ConfigError(OFFLINE.format(label))
    every = range(1, spec.subtasks + 1)
    require_counts(label, shown, class_counts(spec) if spec.subtasks > MANY else every)


def require_evaluated(
    shown: Sequence[int], results: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    """Raise ConfigError for a number of classes at which existing runs were not evaluated."""
    for label, runs in results.items():
        for run in runs:
            if "seen" not in run:
                raise ConfigError(OFFLINE.format(label))
            require_counts(label, shown, run["seen"]["x"])


def require_counts(label: str, shown: Sequence[int], counts: Sequence[float]) -> None:
    """Raise ConfigError for a number of classes at which a learner is not evaluated."""
    if missing := [count for count in shown if count not in counts]:
        few = f"1 to {counts[-1]}" if isinstance(counts, range) else ",".join(map(str, counts))
        raise ConfigError(
            f"--classes {missing[0]}: {label} is evaluated after {few} classes; choose among these."
        )


def rows(
    results: Mapping[str, Sequence[Mapping[str, Any]]], shown: Sequence[int]
) -> list[dict[str, str]]:
    """One row per method: accuracy after so many classes, with intervals over seeds."""
    table = []
    for label, runs in results.items():
        row = {"method": label}
        for count in shown:
            row[f"test %, {count}"] = _percent(runs, "seen", count)
        if all("trajectory" in run for run in runs):
            row[f"trajectory %, {shown[-1]}"] = _percent(runs, "trajectory", shown[-1])
        row["forgetting %"] = over_seeds([100 * float(run["forgetting"]) for run in runs], "{:.1f}")
        if all("other_order" in run for run in runs):
            scores = [100 * float(run["other_order"]["score"]) for run in runs]
            row["i.i.d. %"] = over_seeds(scores, "{:.1f}")
        row["meta-steps"] = f"{round(fmean(run['steps'] for run in runs))}"
        row["minutes"] = f"{fmean(run['minutes'] for run in runs):.1f}"
        row["lifetimes"] = f"{runs[0]['episodes']}"
        row["seeds"] = f"{len(runs)}"
        table.append(row)
    return table


def _percent(runs: Sequence[Mapping[str, Any]], curve: str, count: int) -> str:
    values = [100 * float(run[curve]["y"][run[curve]["x"].index(count)]) for run in runs]
    return over_seeds(values, "{:.1f}")


if __name__ == "__main__":
    cli.run(main, again="the same command resumes.")
