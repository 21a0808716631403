"""A rule beside SGD and Adam, whose rates are tuned in every cell of networks x images x orders.

    python -m experiments.generalize aligned

The rule is used as saved: nothing of it is tuned. Each cell is written when it is done, and a
command that is run again goes on with those that are missing. Below the table is what a step and a
start of each learner cost; with `--costs` that alone. With `--imperfect`, the same rule where
writes are noisy and weights have eight bits, with and without sleep. With `--long 48000`, ResNet-20
on a stream of single images; with more `--seeds`, those that are missing are added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typing_extensions import Doc
from tyro.conf import Positional

from experiments.lab.runs.run_folder import write_json
from experiments.lab.settings import cli
from experiments.lab.settings.registry import ConfigError, require
from experiments.lab.transfer import streams
from experiments.lab.transfer.kept import claim, kept, write

if TYPE_CHECKING:
    from metaplastic import LearningRule


@dataclass(frozen=True, kw_only=True)
class Generalize:
    """A rule beside SGD and Adam with tuned rates, in many networks on many images."""

    rule: Annotated[
        Positional[str], Doc("folder of a rule file, or a shipped one; none: SGD and Adam alone")
    ] = "aligned"
    networks: Annotated[tuple[str, ...], Doc("as in experiments.plug")] = (
        "wide", "deep", "conv", "residual", "transformer", "depthwise",
    )  # fmt: skip
    images: Annotated[tuple[str, ...], Doc(f"of {', '.join(streams.STREAMS)}")] = tuple(
        streams.STREAMS
    )
    orders: Annotated[tuple[str, ...], Doc("iid, by_class")] = ("iid", "by_class")
    ways: Annotated[int, Doc("classes of a lifetime")] = 5
    marks: Annotated[tuple[int, ...], Doc("examples after which accuracy is measured")] = (
        25, 50, 100, 250,
    )  # fmt: skip
    seed: Annotated[int, Doc("of everything")] = 0
    seeds: Annotated[int, Doc("how many, counted up from --seed")] = 3
    tests: Annotated[int, Doc("test lifetimes of each seed and cell")] = 20
    tuning: Annotated[int, Doc("validation lifetimes, to choose a rate by")] = 8
    sgd: Annotated[tuple[float, ...], Doc("rates of SGD; further ones if the best is the last")] = (
        0.003, 0.01, 0.03, 0.1,
    )  # fmt: skip
    adam: Annotated[tuple[float, ...], Doc("rates of Adam, likewise")] = (0.0003, 0.001, 0.003)
    once: Annotated[
        bool, Doc("every image of a lifetime once; images too few for that are left out by name")
    ] = False
    costs: Annotated[
        bool, Doc("in place of the table: what a step and a start of each learner cost, counted")
    ] = False
    imperfect: Annotated[
        bool, Doc("in place of the table: noisy writes and 8-bit weights, in the first order")
    ] = False
    long: Annotated[
        int,
        Doc("in place of the table: ResNet-20 on so many images of JPEG-75 CIFAR-10, once each"),
    ] = 0
    sleep_every: Annotated[int, Doc("examples between phases of sleep, with --imperfect")] = 50
    threads: Annotated[int | None, Doc("of torch; its own choice by default")] = None
    out: Annotated[Path, Doc("folder of cells, table and numbers")] = Path("runs/generalize")


def main(argv: Sequence[str]) -> None:
    config = cli.parse(Generalize, argv, Generalize())
    require_valid(config)
    import torch  # only loads once there is work to do

    if config.threads is not None:
        torch.set_num_threads(config.threads)
    from metaplastic import from_pretrained

    rule = None if config.rule == "none" else from_pretrained(config.rule).rule
    if config.imperfect and rule is not None:
        imperfect(config, rule)
    elif config.long and rule is not None:
        long_life(config, rule)
    else:
        table_of_cells(config, rule)


def table_of_cells(config: Generalize, rule: LearningRule | None) -> None:
    """Every cell that is missing, then the table of all, and what the learners cost."""
    from experiments.lab.transfer.cells import ADAM, RULE, SGD, Amount, Cell, baselines, tested
    from experiments.lab.transfer.cells_report import report
    from experiments.lab.transfer.costs_report import costs

    pairs, notes = streams.offered(
        config.images, config.orders, config.ways, config.marks[-1], config.once
    )
    print("\n".join(notes), flush=True)
    if not pairs:
        raise ConfigError("No images are enough for --once; leave it out, or lower --marks.")
    costing, numbers = "", list[dict[str, Any]]()
    if rule is not None:
        specs = {task: test.spec for (task, _), (_, test) in pairs.items()}
        costing, numbers = costs(rule, config.networks, specs, config.marks[-1])
    if config.costs:
        write(config.out, "costs", [costing], {"costs": numbers})
        return
    settings = ("ways", "marks", "once", "seed", "seeds", "tests", "tuning", "sgd", "adam")
    own = {name: getattr(config, name) for name in settings}
    claim(config.out / "settings.json", own, "* *, *.json")
    amount = Amount(config.tuning, config.tests, config.seeds, config.marks)
    sweeps = {SGD: config.sgd, ADAM: config.adam}
    cells: dict[str, Any] = {}
    for ((task, order), (validation, test)), name in product(pairs.items(), config.networks):
        cell = Cell(name, validation, test, config.marks[-1], config.seed)
        label = f"{task} {order} {name}"
        backprop = config.out / f"{label}, backprop.json"
        found = kept(backprop, partial(baselines, cell, amount, sweeps))
        if rule is not None:
            path = config.out / f"{label}, {Path(config.rule).name}.json"
            cells[label] = {**found, RULE: kept(path, partial(tested, cell, rule, amount))}
        print(f"{label}: done", flush=True)
    if rule is not None:
        lines = "\n".join(f"* {note}" for note in notes)
        text = [f"{amount.words}\n\n{lines}", report(cells, config.marks), costing]
        write(config.out, "generalize", text, {"costs": numbers})


def imperfect(config: Generalize, rule: LearningRule) -> None:
    """The table of imperfect synapses: each network on each set of images, in the first order."""
    from experiments.lab.transfer.cells import Cell
    from experiments.lab.transfer.imperfect import table

    order, parts, numbers = config.orders[0], [], {}
    pairs, _ = streams.offered(config.images, [order], config.ways, config.marks[-1], config.once)
    for ((task, _), (_, test)), name in product(pairs.items(), config.networks):
        cell = Cell(name, test, test, config.marks[-1], config.seed)
        text, numbers[f"{task} {name}"] = table(
            cell, rule, tests=config.tests, seeds=config.seeds, every=config.sleep_every,
            noises=(0.0, 0.01, 0.03, 0.1), bits=(None, 8),
        )  # fmt: skip
        parts.append(f"{task}, {order}, {name}:\n\n{text}")
        write_json(config.out / "imperfect.json", numbers)
    write(config.out, "imperfect", parts)


def long_life(config: Generalize, rule: LearningRule) -> None:
    """The table of a long life: accuracy beside SGD's, and the angle of weights and feedback."""
    from experiments.lab.transfer.long_stream import Life, both, table

    every = max(config.long // 10, 1)
    life = Life(every * 10 if config.long >= 10 else config.long, every, every, 10_000)
    own = {"examples": life.examples, "every": every, "sgd": config.sgd}
    claim(config.out / "long settings.json", own, "long, seed *.json")
    runs = [
        kept(config.out / f"long, seed {seed}.json", partial(both, rule, life, config.sgd, seed))
        for seed in range(config.seed, config.seed + config.seeds)
    ]
    write(config.out, "long", [table(runs)])


def require_valid(config: Generalize) -> None:
    """Raise ConfigError for invalid settings, before any data is read."""
    from experiments.lab.networks.transfer_networks import NETWORKS

    for name in config.networks:
        require(name, NETWORKS, "a network")
    for name in config.images:
        require(name, streams.STREAMS, "a set of images of this table")
    for name in config.orders:
        require(name, {"iid": "", "by_class": ""}, "an order")
    for name in ("costs", "imperfect", "long"):
        if config.rule == "none" and getattr(config, name):
            raise ConfigError(f"--{name} is about a rule; name one in the place of 'none'.")
    if list(config.marks) != sorted(set(config.marks)) or not config.marks or config.marks[0] < 1:
        raise ConfigError("--marks are numbers of examples from 1 on, each above the one before.")
    for name in ("networks", "images", "orders", "sgd", "adam"):
        if not getattr(config, name):
            raise ConfigError(f"--{name} needs at least one value.")
    for name in ("sgd", "adam"):
        if not all(0 < rate < math.inf for rate in getattr(config, name)):
            raise ConfigError(
                f"--{name} has {getattr(config, name)}; a rate is above 0 and finite."
            )
    for name in ("ways", "seeds", "tests", "tuning", "sleep_every"):
        if getattr(config, name) < 1:
            raise ConfigError(f"--{name} is {getattr(config, name)}; it is at least 1.")


if __name__ == "__main__":
    cli.run(main, again="the same command goes on with the cells that are missing.")
