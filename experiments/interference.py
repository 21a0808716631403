"""Interference between examples: the change of each loss by each update, for several rules.

    python -m experiments.interference runs/A/rule runs/B/rule --fractions 0 0.5 1

Uses the test split of the stream that each rule was meta-trained on, or of another by flags.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from typing_extensions import Doc
from tyro.conf import Positional

from experiments.lab.figures.interference_tables import Seeds, averaged, changes, features, geometry
from experiments.lab.figures.tables import as_markdown
from experiments.lab.runs.run_folder import origin, write_json
from experiments.lab.settings import cli
from experiments.lab.settings.config import Stream, over_recorded, preset, record
from experiments.lab.settings.registry import ConfigError

UPDATES: tuple[Literal["rule", "gradient"], ...] = ("rule", "gradient")


@dataclass(frozen=True, kw_only=True)
class Interfere(Stream):
    """Measure interference: learn each example by itself and evaluate the loss on every other.

    Each rule is compared with gradient descent in steps of the same norm. Changes of loss are means
    over pairs of examples and over lifetimes.
    """

    rules: Annotated[
        Positional[tuple[Path, ...]], Doc("folders with config.json and model.safetensors")
    ] = ()
    fractions: Annotated[
        tuple[float, ...], Doc("fractions of a lifetime after which to measure")
    ] = (
        0.0, 0.5, 1.0,
    )  # fmt: skip
    examples: Annotated[int | None, Doc("steps to learn from and evaluate on; None: all")] = None
    exact: Annotated[
        int | None,
        Doc("updates with exact changes; None: all. Fewer: first-order estimates"),
    ] = None
    lifetimes: Annotated[int, Doc("to average over")] = 16
    rate_scale: Annotated[float, Doc("factor on every rate of the rules, as chosen by a sweep")] = (
        1.0
    )
    each_site: Annotated[bool, Doc("also measure the updates of each site by itself")] = False
    over_seeds: Annotated[
        bool, Doc("rules of one method are its seeds: one row for all, with 95 % intervals")
    ] = False
    out: Annotated[Path, Doc("folder of the table, the numbers and the figures")] = Path(
        "runs/interference"
    )


def main(argv: Sequence[str]) -> None:
    config = cli.parse(Interfere, argv, preset(Interfere, argv))
    if not config.rules:
        raise ConfigError("no rule was given: name folders with a config.json, RUN/rule.")
    if not all(0 <= fraction <= 1 for fraction in config.fractions):
        raise ConfigError(f"--fractions is {config.fractions}: choose values from 0 to 1.")
    if not (0 < config.rate_scale < math.inf):
        raise ConfigError(f"--rate-scale is {config.rate_scale}: it must be above 0 and finite.")
    if len({rule.resolve() for rule in config.rules}) < len(config.rules):
        raise ConfigError("a rule was given twice: name each folder once.")
    from experiments.lab.networks.build import (
        evaluation_split,  # torch only loads once there is work to do
    )
    from metaplastic.files.rule_file import read_config

    sources = {rule: read_config(rule)["provenance"] for rule in config.rules}
    splits = {rule: evaluation_split(config, source) for rule, source in sources.items()}
    found: dict[str, Seeds] = {}
    for rule, source in sources.items():
        own = over_recorded(Interfere, argv, source, rule)
        method = source.get("method", rule.name)
        label = method if config.over_seeds else labelled(method, rule, found)
        records = measured(own, rule, splits[rule])
        require_alike(rule, records, found.setdefault(label, []))
        found[label].append(records)
    write(config, found)


def require_alike(rule: Path, records: Sequence[Mapping[str, Any]], seeds: Seeds) -> None:
    """Raise ConfigError for a seed whose network or stream differs from that of earlier seeds."""
    if not seeds:
        return
    both = records[0], seeds[0][0]
    for what, one, other in (
        ("plastic sites", *(", ".join(r["sites"]) for r in both)),
        ("examples", *(len(r["matrix"]) for r in both)),
    ):
        if one != other:
            raise ConfigError(
                f"{rule} has {what} {one}, an earlier rule of its method {other}: "
                "--over-seeds needs rules of one method to be its seeds; omit it."
            )


def labelled(method: str, rule: Path, taken: Mapping[str, Any]) -> str:
    """The method's name, and the rule's path where one of that method came before."""
    return f"{method} ({rule})" if method in taken else method


def measured(config: Interfere, rule: Path, split: str) -> list[dict[str, Any]]:
    """One record for each fraction, each kind of update and each choice of sites."""
    import torch

    from experiments.lab.networks.build import build_stream, fitted, own_classes, require_device
    from metaplastic.evaluate.interference import interference
    from metaplastic.evaluate.lifetimes import lifetimes_of
    from metaplastic.evaluate.selectivity import statistics_over_lifetimes
    from metaplastic.files.rule_file import from_pretrained, read_config

    if config.threads is not None:
        torch.set_num_threads(config.threads)
    require_device(config.device)
    learner = from_pretrained(rule, own_classes(read_config(rule)["provenance"]), config.device)
    stream = build_stream(config, split)
    learner = fitted(learner, stream.spec)
    learner.rule.rate_scale = config.rate_scale
    (episodes,) = lifetimes_of(learner, stream, config.lifetimes, config.seed, config.lifetimes)
    with torch.no_grad():
        features = learner.encode(episodes.support_x.flatten(0, 2)).chunk(config.lifetimes)
    statistics = statistics_over_lifetimes(
        features, [*episodes.support_subtask.flatten(1)]
    ).to_dict()
    names = [site.name for site in learner.sites]
    alone = [[name] for name in names] if config.each_site and len(names) > 1 else []
    records = []
    for fraction, update, sites in product(config.fractions, UPDATES, [None, *alone]):
        result = interference(
            learner, episodes, after=round(fraction * stream.spec.steps),
            examples=config.examples, update=update, sites=sites, exact=config.exact,
        )  # fmt: skip
        distance, mean = result.by_distance()
        records.append(
            {
                "split": getattr(stream, "split", split), "features": statistics,
                "fraction": fraction, "update": update,
                "applied": "all" if sites is None else sites[0],
                **result.summary(),
                "distance": distance, "by_distance": mean,
                "matrix": result.change.mean(0).tolist(),
            }
        )  # fmt: skip
    return records


def estimated(found: Mapping[str, Seeds]) -> list[str]:
    """A sentence for tables with first-order estimates."""
    every = [record for seeds in found.values() for records in seeds for record in records]
    measured = {
        f"{r['measured']} of {r['examples']}" for r in every if r["measured"] < r["examples"]
    }
    if not measured:
        return []
    return [
        "Changes of loss are first-order estimates; the last column is their error, measured on "
        f"{' or '.join(sorted(measured))} updates."
    ]


def write(config: Interfere, found: Mapping[str, Seeds]) -> None:
    """Tables on screen and in `table.md`, numbers in `interference.json`, figures in `plots`."""
    from experiments.lab.figures.interference_plots import plot_distances, plot_matrices

    text = "\n\n".join(
        [
            origin(config.device),
            *estimated(found),
            as_markdown(changes(found), order=()),
            "Geometry of the rule's updates:",
            as_markdown(geometry(found), order=()),
            "Features of the encoder, over all examples of the stream:",
            as_markdown(features(found), order=()),
        ]
    )
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / "table.md").write_text(text + "\n", encoding="utf-8")
    settings = record(config) | {"rules": [str(rule) for rule in config.rules]}
    rules = {
        label: list(seeds) if config.over_seeds else seeds[0] for label, seeds in found.items()
    }
    write_json(config.out / "interference.json", {"settings": settings, "rules": rules})
    averages = {label: averaged(seeds) for label, seeds in found.items()}
    plot_matrices(config.out / "plots" / "matrices.png", averages)
    plot_distances(config.out / "plots" / "distances.png", averages)
    print(f"{text}\n\nFigures and numbers are in {config.out}.")


if __name__ == "__main__":
    cli.run(main)
