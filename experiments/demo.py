"""A demonstration: FLP and second-order OML on sines and on few-shot images.

    python -m experiments.demo

Meta-trains four learners, two at a time, with run folders, plots and rule files. Then the learner
of the package learns a hundred characters, one image at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from typing_extensions import Doc

from experiments.compare import plan_runs, plot_results, write_tables
from experiments.lab.figures.tables import as_markdown, rows
from experiments.lab.runs.jobs import run_all
from experiments.lab.settings import cli
from experiments.lab.settings.config import Compare, Train, preset
from experiments.watch import Watch, print_accuracies

METHODS = ("flp_stable", "oml")


@dataclass(frozen=True)
class Demo:
    """Meta-train FLP and second-order OML on sines and on few-shot images; print one table."""

    minutes: Annotated[float, Doc("of meta-training for each of the four runs")] = 2.5
    data: Annotated[Path | None, Doc("folder of data files; None: METAPLASTIC_DATA")] = None
    runs: Annotated[Path, Doc("folder of all runs")] = Path("runs")
    name: Annotated[str, Doc("of the demo; existing runs are kept")] = "demo"
    tiny: Annotated[bool, Doc("a few meta-steps only, as a check")] = False
    seed: Annotated[int, Doc("fixes weights, lifetimes and their order")] = 0
    debug: Annotated[bool, Doc("show where an error came from")] = False


def main(argv: Sequence[str]) -> None:
    demo = cli.parse(Demo, argv, Demo())
    images, remark = choose_images(demo)
    print(remark)
    streams = {task: plan_runs(comparison(demo, task)) for task in ("sines", images)}
    every = [run for groups in streams.values() for runs in groups.values() for run in runs]
    length = "a few meta-steps" if demo.tiny else f"{demo.minutes:g} minutes of meta-training"
    print(f"{len(every)} runs, two at a time, {length} each.")
    run_all(every, jobs=2, title="demo")
    root = demo.runs / demo.name
    table = [
        row
        for task, groups in streams.items()
        for row in rows(plot_results(groups, root / task / "plots"))
    ]
    write_tables(root, [table], remark)
    print(f"\n{as_markdown(table)}\n\nPlots, rules and records are in {root}.")
    hundred = Watch(characters=10 if demo.tiny else 100, data=demo.data, seed=demo.seed)
    print(f"\nAnd the learner of the package, {hundred.characters} characters in one pass:")
    print_accuracies(hundred)


def comparison(demo: Demo, task: str) -> Compare:
    """The two runs on one stream."""
    size = "tiny" if demo.tiny else "laptop"
    chosen = preset(Compare, ["--preset", size, "--task", task])
    return replace(
        chosen,
        methods=METHODS,
        seeds=1,
        seed=demo.seed,
        minutes=None if demo.tiny else demo.minutes,
        data=demo.data,
        runs=demo.runs,
        name=f"{demo.name}/{task}",
    )


def choose_images(demo: Demo) -> tuple[str, str]:
    """The image task, Omniglot if available, else glyphs; and a sentence on the choice."""
    from experiments.lab.networks.build import build_stream
    from tasks.data import DataError

    try:
        config = preset(Train, ["--task", "omniglot"])
        build_stream(replace(config, data=demo.data), "train").spec  # noqa: B018  reads the files
    except DataError as error:
        return "glyphs", f"The images are generated glyphs, because: {error}"
    return "omniglot", "The images are Omniglot."


if __name__ == "__main__":
    cli.run(main, again="the same command resumes.")
