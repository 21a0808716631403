"""Add a rule file to the package as a named learner in half precision, with a model card.

    python -m experiments.ship runs/NAME/rule --name omniglot_readout --about "..." --not-for "..."

Evaluates the rule before and after rounding, on the test split of its own stream, and writes both
accuracies on the card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

from typing_extensions import Doc
from tyro.conf import Positional

from experiments.lab.figures.tables import as_markdown
from experiments.lab.runs.run_folder import origin, read_json
from experiments.lab.settings import cli
from experiments.lab.settings.config import Stream, over_recorded, preset
from experiments.lab.settings.registry import ConfigError

if TYPE_CHECKING:
    from metaplastic import OnlineLearner

LARGEST = 2_000_000  # bytes of a learner in the package
LOSS = 0.002  # of accuracy, at most, by half precision


@dataclass(frozen=True, kw_only=True)
class Ship(Stream):
    """Add a rule file to the package under a name, with a model card."""

    rule: Annotated[Positional[Path], Doc("folder with config.json and model.safetensors")] = Path(
        "rule"
    )
    name: Annotated[str, Doc("of the learner, for from_pretrained")] = ""
    about: Annotated[str, Doc("a sentence that describes it")] = ""
    not_for: Annotated[str, Doc("a sentence on uses that are not intended")] = ""
    max_shift: Annotated[
        int, Doc("average image features over shifts by up to so many pixels at test")
    ] = 0
    out: Annotated[Path, Doc("folder of all learners of the package")] = Path(
        "metaplastic/learners"
    )


def main(argv: Sequence[str]) -> None:
    config = cli.parse(Ship, argv, preset(Ship, argv))
    if not (config.name.isidentifier() and config.about and config.not_for):
        raise ConfigError(
            "a shipped learner needs --name, a word without spaces, and --about and --not-for, a "
            "sentence each."
        )
    from experiments.lab.networks.build import (
        evaluation_split,  # torch only loads once there is work to do
    )
    from metaplastic.files.rule_file import read_config

    source = read_config(config.rule)["provenance"]
    split = evaluation_split(config, source)
    ship(over_recorded(Ship, argv, source, config.rule), source, split)


def ship(config: Ship, source: Mapping[str, Any], split: str) -> None:
    """Save in half precision, evaluate both, write the card."""
    import torch

    from experiments.lab.networks.build import build_stream, own_classes
    from experiments.lab.runs.evaluation import evaluate
    from metaplastic.evaluate.shift_averaging import with_shift_averaging
    from metaplastic.files.rule_file import from_pretrained, save_pretrained
    from metaplastic.support.catalog import CARD

    if config.threads is not None:
        torch.set_num_threads(config.threads)
    own = own_classes(source)
    learner = trained = from_pretrained(config.rule, own)
    if config.max_shift:
        learner = with_shift_averaging(trained, config.max_shift)
    stream = build_stream(config, split)
    folder = config.out / config.name
    with TemporaryDirectory() as scratch:
        half = save_pretrained(learner, Path(scratch) / "half", source, half=True)
        size = sum(path.stat().st_size for path in half.iterdir())
        if size > LARGEST:
            raise ConfigError(
                f"the learner takes {size:,} bytes in half precision; one of the package may take "
                f"{LARGEST:,}: make its network smaller."
            )
        scores = {
            name: evaluate(made, stream, replace(config, sweep=()), Path(scratch), None)
            for name, made in (
                ("as meta-trained", trained), ("before rounding", learner),
                ("as shipped", from_pretrained(half, own)),
            )
        }  # fmt: skip
    lost = scores["before rounding"]["score"] - scores["as shipped"]["score"]
    if lost > LOSS:
        raise ConfigError(f"half precision costs {100 * lost:.2f} %: this rule is not shipped.")
    save_pretrained(learner, folder, source, half=True)
    text = card(config, source, scores, size, use(config.name, learner))
    (folder / CARD).write_text(text, encoding="utf-8")
    print(text)


def use(name: str, learner: OnlineLearner) -> str:
    """The example code of a card: for a learner, or for a rule used in other networks."""
    from metaplastic.plasticity.polynomial import Polynomial

    rule = learner.rule.plasticity
    if not isinstance(rule, Polynomial):
        return f"""from metaplastic import from_pretrained, grow

learner = grow(from_pretrained("{name}"), 100)  # the largest number of classes"""
    return f"""from metaplastic import PlasticModule, from_pretrained

# {rule.equation()}
rule = from_pretrained("{name}").rule
net = PlasticModule(model, rule, example=x)  # any module of yours; then net(x), net.learn(y)"""


def card(
    config: Ship,
    source: Mapping[str, Any],
    scores: Mapping[str, Mapping[str, Any]],
    size: int,
    lines: str,
) -> str:
    """The text of the model card, with the command that measured it."""
    settings, rows = source["settings"], []
    for name, found in scores.items():
        row = {"weights": name}
        curve = found.get("seen", {"x": [], "y": []})
        for count, y in zip(curve["x"], curve["y"], strict=True):
            row[f"{count}"] = f"{100 * y:.1f}"
        low, high = (100 * end for end in found["interval"])
        row["at the end, 95 %"] = f"{100 * found['score']:.2f} [{low:.2f}, {high:.2f}]"
        rows.append(row)
    first = next(iter(scores.values()))
    meta = " ".join(settings["stream"]) or "the options of the preset"
    return f"""# {config.name}

{config.about}

**Not for**: {config.not_for}

- Made by method `{source["method"]}`, seed {source.get("seed")}, on task `{settings["task"]}`,
  split `{source.get("split")}`, preset `{settings["preset"]}`, {meta}{spent(config.rule)}.
- {size:,} bytes, float16; loaded as float32.

```python
{lines}
```

Accuracy in percent over the classes learned so far, of held-out examples, after so many classes
({first["episodes"]} lifetimes of `{first["stream"]}`):

{as_markdown(rows, order=())}

{origin(config.device)}
"""


def spent(rule: Path) -> str:
    """The meta-steps and minutes of the run of this rule, if its result exists."""
    path = rule.parent / "result.json"
    if not path.is_file():
        return ""
    run = read_json(path, "")
    return f"; {run['steps']} meta-steps, {run['minutes']:.0f} minutes"


if __name__ == "__main__":
    cli.run(main)
