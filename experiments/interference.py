"""What learning one example does to everything else a network knows, for rules side by side.

    python -m experiments.interference runs/A/rule runs/B/rule --moments 0 0.5 1

Lives on the test split of the stream that each rule was meta-trained on, or of another by flags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from typing_extensions import Doc
from tyro.conf import Positional

from experiments import cli
from experiments.config import Stream, over_recorded, preset, record
from experiments.registry import ConfigError
from experiments.run_folder import origin, write_json
from experiments.tables import as_markdown

UPDATES: tuple[Literal["rule", "gradient"], ...] = ("rule", "gradient")


@dataclass(frozen=True, kw_only=True)
class Interfere(Stream):
    """Learn every example on its own, ask every loss again, and say what interferes with what.

    Each rule is compared with gradient descent through the same weights, in steps as long as the
    rule's own. Changes of loss are means over pairs of examples and over lifetimes.
    """

    rules: Annotated[
        Positional[tuple[Path, ...]], Doc("folders with config.json and model.safetensors")
    ] = ()
    moments: Annotated[tuple[float, ...], Doc("parts of a lifetime that are lived before")] = (
        0.0, 0.5, 1.0,
    )  # fmt: skip
    examples: Annotated[int | None, Doc("steps to learn from and ask about; None: all")] = None
    lifetimes: Annotated[int, Doc("to average over")] = 16
    out: Annotated[Path, Doc("folder of the table, the numbers and the figures")] = Path(
        "runs/interference"
    )


def main(argv: Sequence[str]) -> None:
    config = cli.parse(Interfere, argv, preset(Interfere, argv))
    if not config.rules:
        raise ConfigError("no rule was given: name folders that hold a config.json, RUN/rule.")
    if not all(0 <= moment <= 1 for moment in config.moments):
        raise ConfigError(f"--moments {config.moments}: a lifetime goes from 0 to 1.")
    if len({rule.resolve() for rule in config.rules}) < len(config.rules):
        raise ConfigError("a rule was given twice: name each folder once.")
    from experiments.build import asked_split  # torch only loads once there is work to do
    from metaplastic.artifact import read_config

    sources = {rule: read_config(rule)["provenance"] for rule in config.rules}
    splits = {rule: asked_split(config, source) for rule, source in sources.items()}
    found: dict[str, list[dict[str, Any]]] = {}
    for rule, source in sources.items():
        own = over_recorded(Interfere, argv, source, rule)
        label = labelled(source.get("method", rule.name), rule, found)
        found[label] = measured(own, rule, splits[rule])
    write(config, found)


def labelled(method: str, rule: Path, taken: Mapping[str, Any]) -> str:
    """The method's name, and the rule's path where one of that method came before."""
    return f"{method} ({rule})" if method in taken else method


def measured(config: Interfere, rule: Path, split: str) -> list[dict[str, Any]]:
    """One record for each moment and each kind of update."""
    import torch

    from experiments.build import build_stream, own_classes, require_device
    from metaplastic.artifact import from_pretrained, read_config
    from metaplastic.interference import interference
    from metaplastic.lifetimes import lifetimes_of

    if config.threads is not None:
        torch.set_num_threads(config.threads)
    require_device(config.device)
    learner = from_pretrained(rule, own_classes(read_config(rule)["provenance"]), config.device)
    stream = build_stream(config, split)
    (lives,) = lifetimes_of(learner, stream, config.lifetimes, config.seed, config.lifetimes)
    records = []
    for moment in config.moments:
        for update in UPDATES:
            tried = interference(
                learner, lives, after=round(moment * stream.spec.steps),
                examples=config.examples, update=update,
            )  # fmt: skip
            distance, mean = tried.by_distance()
            records.append(
                {
                    "split": getattr(stream, "split", split),
                    "moment": moment, "update": update, **tried.summary(),
                    "distance": distance, "by_distance": mean,
                    "matrix": tried.change.mean(0).tolist(),
                }
            )  # fmt: skip
    return records


def write(config: Interfere, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Tables on screen and in `table.md`, numbers in `interference.json`, figures in `plots`."""
    from experiments.interference_plots import draw_distances, draw_matrices

    changes = [
        {
            "rule": label, "moment": f"{row['moment']:g}", "update": row["update"],
            **{
                name: f"{row[name]:.4f}" for name in ("loss", "own", "within", "across")
            },
            "harmed %": f"{100 * row['harmed']:.0f}",
            "first-order error": f"{row['first_order_error']:.2f}",
        }
        for label, rows in found.items()
        for row in rows
    ]  # fmt: skip
    geometry = [
        {"rule": label, "site": site} | {name: f"{value:.3f}" for name, value in numbers.items()}
        for label, rows in found.items()
        for site, numbers in next(r for r in reversed(rows) if r["update"] == "rule")[
            "sites"
        ].items()
    ]
    text = "\n\n".join(
        [
            origin(config.device),
            as_markdown(changes, order=()),
            f"Geometry of the rule's updates at moment {config.moments[-1]:g}:",
            as_markdown(geometry, order=()),
        ]
    )
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / "table.md").write_text(text + "\n", encoding="utf-8")
    settings = record(config) | {"rules": [str(rule) for rule in config.rules]}
    numbers = {"settings": settings, "rules": {k: list(rows) for k, rows in found.items()}}
    write_json(config.out / "interference.json", numbers)
    draw_matrices(config.out / "plots" / "matrices.png", found)
    draw_distances(config.out / "plots" / "distances.png", found)
    print(f"{text}\n\nFigures and numbers are in {config.out}.")


if __name__ == "__main__":
    cli.run(main)
