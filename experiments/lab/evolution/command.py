"""Search a whole rule by evolution on a distribution of networks and data; print it, prune it.

    python -m experiments.discover --by evolution --minutes 30

Every generation has an architecture and a kind of data drawn anew. What was found is printed as an
equation; then each of its terms is left out on lifetimes that are new, and terms whose loss cannot
be distinguished from zero are pruned. Writes the rule file, its numbers and the table of ablations.
A search that was stopped goes on where it was with the same command.

    torchrun --nproc-per-node 2 -m experiments.discover --by evolution --threads 1

shares every generation over processes, with the same result to the bit as one with as many threads.

    python -m experiments.discover --by evolution --estimators

compares estimators of the meta-gradient in the place of a search (see `--estimators --help`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typing_extensions import Doc

from experiments.lab.evolution import compare_command
from experiments.lab.runs.run_folder import origin, write_json
from experiments.lab.settings import cli
from experiments.lab.settings.registry import ConfigError

if TYPE_CHECKING:
    from metaplastic.outer.distributed import ProcessGroup

NOT_SETTINGS = (
    "by",
    "estimators",
    "generations",
    "name",
    "out",
    "threads",
)  # no result depends on them


@dataclass(frozen=True, kw_only=True)
class Evolve:
    """Search a whole rule by evolution on a distribution of networks and data."""

    by: Annotated[Literal["evolution"], Doc("how rules are searched")] = "evolution"
    estimators: Annotated[
        bool, Doc("compare estimators of the meta-gradient instead; see --estimators --help")
    ] = False
    minutes: Annotated[float, Doc("of searching, in addition to what was searched before")] = 30.0
    pairs: Annotated[int, Doc("of mutants in a generation")] = 6
    lifetimes: Annotated[int, Doc("of each mutant")] = 6
    rate: Annotated[float, Doc("of the search, in standard deviations of a mutation")] = 0.1
    shares: Annotated[
        int, Doc("of a generation, a multiple of the number of processes; divides twice the pairs")
    ] = 2
    generations: Annotated[int | None, Doc("in all, where the search ends before its time")] = None
    rows: Annotated[int, Doc("of noise, by which feedback is mirrored at the start")] = 2048
    ablations: Annotated[int, Doc("draws of network and data, to judge each term on")] = 40
    seed: Annotated[int, Doc("of everything")] = 0
    name: Annotated[str, Doc("of the rule, on its card")] = "evolved"
    threads: Annotated[int | None, Doc("of torch; its own choice by default")] = None
    out: Annotated[Path, Doc("folder of the search, the rule and the tables")] = Path("runs/evolve")


def main(argv: Sequence[str]) -> None:
    if cli.is_given(argv, "estimators"):
        compare_command.main(argv)
        return
    config = cli.parse(Evolve, argv, Evolve())
    for name in ("pairs", "lifetimes", "rows", "ablations", "shares"):
        if getattr(config, name) < 1:
            raise ConfigError(f"--{name} is {getattr(config, name)}; it is at least 1.")
    if not config.minutes >= 0 or not config.rate > 0:
        raise ConfigError("--minutes is at least 0, and --rate is above 0.")
    if config.generations is not None and config.generations < 0:
        raise ConfigError(f"--generations is {config.generations}; it is at least 0.")
    if 2 * config.pairs % config.shares:
        raise ConfigError(
            f"--shares is {config.shares}, which does not divide the {2 * config.pairs} mutants of "
            f"--pairs {config.pairs}."
        )
    import torch  # only loads once there is work to do

    if config.threads is not None:
        torch.set_num_threads(config.threads)
    from metaplastic.outer.distributed import process_group

    with process_group("cpu") as (group, _):
        searched(config, group)


def searched(config: Evolve, group: ProcessGroup) -> None:
    """Search and judge, in each process of a group."""
    from experiments.lab.evolution.data import sources
    from experiments.lab.evolution.search import Search, evolve

    if config.shares % group.size:
        raise ConfigError(
            f"--shares is {config.shares}, which {group.size} processes cannot share evenly; "
            f"choose a multiple of {group.size}."
        )
    search = Search(
        sources(), config.seed, config.pairs, config.lifetimes, config.rate, config.rows,
        config.shares, group,
    )  # fmt: skip
    state = config.out / "search.json"
    if state.exists():
        search.load(state)
    evolve(search, config.minutes, config.out, shown, config.generations)
    finish(config, search)


def shown(text: str) -> None:
    print(text, flush=True)


def finish(config: Evolve, search: Any) -> None:
    """Ablations, the pruned rule, its file and the tables."""
    from experiments.lab.evolution.ablations import ablate, pruned, refined, table
    from experiments.lab.evolution.shipping import card, saved
    from experiments.lab.evolution.space import first_point, options_at, plain, rule_of
    from metaplastic.support.catalog import CARD

    found, start = search.found(), options_at(first_point())
    show = shown if search.group.main else (lambda text: None)
    show("judging each term ...")
    losses = ablate(search, found, config.ablations)
    show(table(losses, "accuracy lost without it, points"))
    kept, tried = refined(search, pruned(found, losses), config.ablations)
    check = ablate(search, kept, config.ablations, others={"as found": found, "at first": start})
    if not search.group.main:
        return
    rule = rule_of(kept, rows=config.rows)
    numbers = plain(kept)
    text = "\n\n".join([
        origin("cpu"), f"{search.generation} generations, seed {config.seed}.",
        rule.plasticity.equation(),
        table(losses, "accuracy lost without it, points"),
        table(tried, "accuracy of the pruned rule above, points"),
        table(check, "accuracy of the rule above, points"),
    ])  # fmt: skip
    write_json(config.out / "found.json", {
        "remark": origin("cpu"), "settings": settings_of(config), "generations": search.generation,
        "found": found, "pruned": numbers, "losses": losses, "rates": tried, "checks": check,
    })  # fmt: skip
    (config.out / "found.md").write_text(text + "\n", encoding="utf-8")
    made = " ".join(f"--{name} {value}" for name, value in settings_of(config).items())
    command = f"python -m experiments.discover --by evolution {made}"
    rule_folder = config.out / "rule"
    saved(rule_folder, numbers, config.rows, settings_of(config), search.generation)
    own = card(config.name, numbers, config.rows, command, search.generation, text)
    (rule_folder / CARD).write_text(own, encoding="utf-8")
    print(f"\n{text}\n\nThe rule file is {rule_folder}.")


def settings_of(config: Evolve) -> dict[str, Any]:
    """The settings that a result depends on."""
    names = [field.name for field in fields(config) if field.name not in NOT_SETTINGS]
    return {name: getattr(config, name) for name in names}
