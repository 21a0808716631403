"""Compare estimators of the meta-gradient for rules, at the same cost.

    python -m experiments.discover --by evolution --estimators

Antithetic evolution strategies on whole lifetimes, persistent ones on truncated lifetimes, and the
meta-gradient through whole and truncated lifetimes: how far each one's estimates are from a
reference of many lifetimes, and the meta-loss that a rule is trained to on as much computing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Literal

from typing_extensions import Doc

from experiments.lab.figures.tables import as_markdown, mean_and_interval
from experiments.lab.runs.run_folder import origin, write_json
from experiments.lab.settings import cli
from experiments.lab.settings.registry import ConfigError

Lengths = tuple[int, ...]
SHOWN = {
    "cosine": ("cosine with the reference", "{:.3f}"),
    "cosine of the mean": ("cosine of their mean", "{:.3f}"),
    "size": ("size of their mean", "{:.2f}"),
    "variance": ("variance", "{:.2g}"),
    "seconds": ("s an estimate", "{:.2f}"),
}


@dataclass(frozen=True, kw_only=True)
class CompareEstimators:
    """Compare estimators of the meta-gradient of a whole rule, at the same cost."""

    by: Annotated[Literal["evolution"], Doc("how rules are searched")] = "evolution"
    estimators: Annotated[bool, Doc("compare estimators in the place of a search")] = True
    lengths: Annotated[Lengths, Doc("of lifetimes, in examples")] = (50, 500)
    segments: Annotated[int, Doc("of a lifetime, for truncation and the meta-loss")] = 5
    seeds: Annotated[int, Doc("of weights, data and mutations, from 0")] = 3
    pairs: Annotated[int, Doc("of mutants in an estimate by evolution")] = 4
    lifetimes: Annotated[int, Doc("of each mutant")] = 4
    charge: Annotated[float, Doc("lifetimes that a differentiated one counts as")] = 8.0
    deviation: Annotated[float, Doc("of a mutation, in the search's own")] = 1.0
    estimates: Annotated[int, Doc("of each estimator, at the first rule")] = 6
    reference: Annotated[int, Doc("whole lifetimes whose meta-gradient is the reference")] = 32
    budget: Annotated[int, Doc("estimates of which a meta-training is made")] = 10
    rates: Annotated[tuple[float, ...], Doc("of Adam, in the search's own deviations")] = (0.3,)
    threads: Annotated[int | None, Doc("of torch; its own choice by default")] = None
    out: Annotated[Path, Doc("folder of the table")] = Path("runs/estimators")


def main(argv: Sequence[str]) -> None:
    config = cli.parse(CompareEstimators, argv, CompareEstimators())
    check(config)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("--estimators runs in one process; start it without torchrun.")
    import torch  # only loads once there is work to do

    if config.threads is not None:
        torch.set_num_threads(config.threads)
    from experiments.lab.evolution import data
    from experiments.lab.evolution.comparison import Cost, compared

    names = {field.name for field in fields(Cost)}
    cost = Cost(**{name: value for name, value in vars(config).items() if name in names})
    found: dict[str, list[dict[str, Any]]] = {}
    given, texts = data.sources(), [origin("cpu")]
    for examples in config.lengths:
        runs = []
        for seed in range(config.seeds):
            print(f"{examples} examples, seed {seed} ...", flush=True)
            runs.append(compared(given, examples, config.segments, seed, cost, list(config.rates)))
        found[str(examples)] = runs
        texts.append(report(examples, config, runs, cost))
        print(f"\n{texts[-1]}\n", flush=True)
        config.out.mkdir(parents=True, exist_ok=True)
        write_json(config.out / "estimators.json", {"remark": texts[0], "lengths": found})
        (config.out / "estimators.md").write_text("\n\n".join(texts) + "\n", encoding="utf-8")


def check(config: CompareEstimators) -> None:
    """Raise ConfigError for a number out of its range."""
    for name in ("segments", "seeds", "pairs", "lifetimes", "budget"):
        if getattr(config, name) < 1:
            raise ConfigError(f"--{name} is {getattr(config, name)}; it is at least 1.")
    for name in ("estimates", "reference"):
        if getattr(config, name) < 2:
            raise ConfigError(f"--{name} is {getattr(config, name)}; it is at least 2.")
    for name in ("charge", "deviation"):
        if not getattr(config, name) > 0:
            raise ConfigError(f"--{name} is {getattr(config, name):g}; it is above 0.")
    if not config.rates or not min(config.rates) > 0:
        raise ConfigError("--rates is one or more numbers above 0.")
    for length in config.lengths:
        if length < 1 or length % config.segments:
            raise ConfigError(
                f"--lengths has {length}, which is no multiple of --segments {config.segments}."
            )


def report(examples: int, config: CompareEstimators, runs: list[dict[str, Any]], cost: Any) -> str:
    """The table of one length, and what its reference is."""
    table = []
    for label in runs[0]["rows"]:
        each = [run["rows"][label] for run in runs]
        row = {f"{examples} examples": label}
        for name, (title, form) in SHOWN.items():
            row[title] = spread([one[name] for one in each], form)
        for rate in config.rates:
            row[f"loss, rate {rate:g}"] = spread([one[f"loss, {rate:g}"] for one in each], "{:.3f}")
        table.append(row)
    skipped = sum(
        int(value) for run in runs for row in run["rows"].values()
        for name, value in row.items() if name.startswith("skipped")
    )  # fmt: skip
    start = spread([run["start"] for run in runs], "{:.3f}")
    halves = fmean(run["halves"] for run in runs)
    return (
        f"{as_markdown(table, order=())}\n\nMeans over {config.seeds} seeds, with 95 %. The "
        f"reference: {config.reference} whole lifetimes, whose halves have a cosine of "
        f"{halves:.4f}. An estimate is of {2 * cost.pairs * cost.lifetimes} lifetimes by evolution "
        f"and {cost.differentiated} by unrolling; {config.budget} of them train a rule from a "
        f"meta-loss of {start}. Parts of estimates that were not finite and were left out: "
        f"{skipped}."
    )


def spread(values: Sequence[float], form: str) -> str:
    """The mean over seeds, with half of its 95 % interval."""
    mean, half = mean_and_interval(values)
    return form.format(mean) + ("" if half is None else f" ± {form.format(half)}")
