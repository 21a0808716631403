"""Transfer a saved rule to other networks and data, and compare it with tuned baselines.

    python -m experiments.plug runs/NAME/rule --networks wide deep --task fashion_mnist

Every network is newly initialized and learns one example at a time. Feedback alignment, direct
feedback alignment and backprop, each with the delta rule, have the best rate for that network and
task, chosen on validation lifetimes; the rule is used as saved, and again with a rate scale chosen
in the same way. All are evaluated on the same test lifetimes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typing_extensions import Doc
from tyro.conf import Positional

from experiments.lab.figures.tables import as_markdown
from experiments.lab.runs.run_folder import origin, write_json
from experiments.lab.settings import cli
from experiments.lab.settings.config import Order, Stream, preset, record
from experiments.lab.settings.registry import ConfigError, require, split_options

if TYPE_CHECKING:
    from experiments.lab.transfer.lifetimes import Lifetime
    from metaplastic import LearningRule, TaskStream

BASE = ("ways=5", "shots=10", "queries_per_class=10")
EVERY = 25  # examples between evaluations
RATE_SCALES = (0.3, 1.0, 3.0)


@dataclass(frozen=True, kw_only=True)
class Transfer(Stream):
    """Transfer a saved rule to other networks and data, and compare it with baselines."""

    rule: Annotated[Positional[str], Doc("folder of a rule file, or the name of a shipped one")] = (
        "rule"
    )
    networks: Annotated[
        tuple[str, ...],
        Doc(
            "of familiar (as in meta-training), wide, deep, conv, residual, transformer, depthwise"
        ),
    ] = ("wide", "deep", "conv", "residual")
    task: Annotated[str, Doc("a file in tasks, of few-shot images")] = "omniglot"
    order: Annotated[Order, Doc("one class after another, or shuffled")] = "iid"
    stream: Annotated[
        tuple[str, ...], Doc(f"options of the task, as name=value ..., over {' '.join(BASE)}")
    ] = ()
    examples: Annotated[int, Doc("of a lifetime; images are repeated if there are too few")] = 250
    seeds: Annotated[int, Doc("how many, counted up from --seed")] = 3
    episodes: Annotated[int, Doc("test lifetimes of each seed and network")] = 4
    lifetimes: Annotated[int, Doc("of validation, to choose a rate by")] = 6
    sweep: Annotated[
        tuple[float, ...], Doc("rates of the baselines; further ones if the best is the last")
    ] = (0.003, 0.01, 0.03, 0.1, 0.3)
    out: Annotated[Path, Doc("folder of table, figure and numbers")] = Path("runs/plug")


def main(argv: Sequence[str]) -> None:
    own = Transfer()
    kept = ("order", "stream", "episodes", "sweep")
    default = replace(preset(Transfer, argv), **{name: getattr(own, name) for name in kept})
    config = cli.parse(Transfer, argv, default)
    import torch  # only loads once there is work to do

    if config.threads is not None:
        torch.set_num_threads(config.threads)
    run_transfer(config)


def run_transfer(config: Transfer) -> None:
    """Tune, evaluate, and write table, figure and numbers."""
    from experiments.lab.networks.build import own_classes, require_device
    from experiments.lab.transfer.lifetimes import sample_lifetimes
    from metaplastic.files.rule_file import from_pretrained, read_config

    require_valid(config)
    require_device(config.device)
    source = read_config(config.rule)["provenance"]
    rule = from_pretrained(config.rule, own_classes(source), config.device).rule
    streams = {split: stream_of(config, split) for split in ("validation", "test")}
    steps = (config.examples, config.device)
    choosing = sample_lifetimes(
        streams["validation"], config.lifetimes, *steps, config.seed, "plug", "validation"
    )
    testing = [
        sample_lifetimes(
            streams["test"], config.episodes, *steps, config.seed + seed, "plug", "test"
        )
        for seed in range(config.seeds)
    ]
    outputs = streams["test"].spec.outputs
    reports = {name: fitted(name, rule, testing[0][0], outputs) for name in config.networks}
    evaluation_steps = [*range(0, config.examples, EVERY), config.examples]
    networks: dict[str, Any] = {}
    text = ""
    for name in config.networks:
        print(f"{name}:\n  " + "\n  ".join(f"{s}: {t}" for s, t in reports[name].items()))
        found = compare(name, rule, choosing, testing, outputs, evaluation_steps, config.sweep)
        networks[name] = {"transplant": reports[name], "methods": found}
        text = write(config, rule, source, networks, evaluation_steps)
    print(f"\n{text}\n\nTable, figure and numbers are in {config.out}.")


def write(
    config: Transfer,
    rule: LearningRule,
    source: Mapping[str, Any],
    networks: Mapping[str, Any],
    evaluation_steps: Sequence[int],
) -> str:
    """Write table, figure and numbers; the table."""
    from experiments.lab.transfer.report import plot, table

    rows, known = table(networks, evaluation_steps), equation(rule)
    write_json(config.out / "plug.json", {
        "remark": origin(config.device),
        "equation": known,
        "found_on": source.get("settings", {}).get("task"),
        "settings": record(config),
        "examples": list(evaluation_steps),
        "networks": dict(networks),
        "table": rows,
    })  # fmt: skip
    plot(config.out / "plug.png", networks, evaluation_steps, config.task)
    text = "\n\n".join(filter(None, [origin(config.device), known, as_markdown(rows, order=())]))
    (config.out / "plug.md").write_text(text + "\n", encoding="utf-8")
    return text


def require_valid(config: Transfer) -> None:
    """Raise ConfigError for invalid settings, before any data is read."""
    from experiments.lab.networks.transfer_networks import NETWORKS

    for name in config.networks:
        require(name, NETWORKS, "a network")
    if not config.networks or not config.sweep:
        raise ConfigError("--networks and --sweep need at least one value each.")
    for name in split_options("--stream", config.stream):
        if name.rpartition(".")[2] in ("split", "batch", "repeats"):
            raise ConfigError(
                f"--stream {name}= cannot be chosen here: rates are tuned on validation, tests "
                "are on test, and --examples are learned one at a time."
            )


def stream_of(config: Transfer, split: str) -> TaskStream:
    """The stream of a split, with as many repeats of its images as --examples needs."""
    from experiments.lab.networks.build import build_stream

    options = split_options("--stream", BASE) | split_options("--stream", config.stream)
    if "slots" not in split_options("--stream", config.stream):
        options["slots"] = options["ways"]

    def rounds(number: int) -> TaskStream:
        words = tuple(f"{name}={value}" for name, value in options.items())
        return build_stream(replace(config, stream=(*words, f"repeats={number}")), split)

    once = rounds(1)
    return rounds(-(-config.examples // once.spec.steps))


def fitted(name: str, rule: LearningRule, lifetime: Lifetime, outputs: int) -> dict[str, str]:
    """The report of a rule's transfer to a network, site by site."""
    from experiments.lab.networks.transfer_networks import network
    from experiments.lab.transfer.lifetimes import by_rule

    model = network(name, tuple(lifetime.x.shape[1:]), outputs, lifetime.seed).to(lifetime.x.device)
    return by_rule(rule)(model, lifetime.x[:1], lifetime.seed, 1.0).transplant.report


def compare(
    name: str,
    rule: LearningRule,
    choosing: Sequence[Lifetime],
    testing: Sequence[Sequence[Lifetime]],
    outputs: int,
    evaluation_steps: Sequence[int],
    rates: Sequence[float],
) -> dict[str, Any]:
    """Each method at its rate, chosen on `choosing`: its accuracy on `testing`, seed by seed."""
    from experiments.lab.transfer.lifetimes import Method, by_rule, choose, fixed

    own = by_rule(rule)
    plan = {"the rule": (own, ()), "the rule, rate scale tuned": (own, RATE_SCALES)}
    plan |= {label: (plug, tuple(rates)) for label, plug in fixed(rule).items()}
    found, evaluated = {}, dict[tuple[Any, float], list[list[float]]]()
    for label, (plug, grid) in plan.items():
        method = Method(name, outputs, plug)
        rate, tried = 1.0, dict[float, float]()
        if grid:
            last = evaluation_steps[-1:]
            rate, tried = choose(lambda r: method.curve(r, choosing, last)[0], grid)  # noqa: B023
        if (curves := evaluated.get((plug, rate))) is None:  # a rate scale of 1 may be the best
            curves = [method.curve(rate, lifetimes, evaluation_steps) for lifetimes in testing]
        evaluated[plug, rate] = curves
        validation = {f"{r:.3g}": score for r, score in tried.items()}
        found[label] = {"rate": rate, "validation": validation, "accuracy": curves}
        print(f"  {label}, {rate:.3g}: {sum(c[-1] for c in curves) / len(curves):.3f}", flush=True)
    return found


def equation(rule: LearningRule) -> str | None:
    """The equation of the rule, if it has one."""
    from metaplastic.plasticity.polynomial import Polynomial

    return rule.plasticity.equation() if isinstance(rule.plasticity, Polynomial) else None


if __name__ == "__main__":
    cli.run(main)
