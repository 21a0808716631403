"""Evaluate a rule file on held-out lifetimes.

    python -m experiments.meta_test runs/NAME/rule --episodes 1000 --order iid

Uses the test split of the stream that the rule was meta-trained on, or of another by flags;
`--stream split=validation` is for model selection.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typing_extensions import Doc
from tyro.conf import Positional

from experiments.lab.figures.tables import as_markdown, rows
from experiments.lab.runs.run_folder import write_json
from experiments.lab.settings import cli
from experiments.lab.settings.config import Stream, over_recorded, preset, record
from experiments.lab.settings.registry import ConfigError

if TYPE_CHECKING:
    from metaplastic import OnlineLearner


@dataclass(frozen=True, kw_only=True)
class Test(Stream):
    """Evaluate a rule file on lifetimes of the stream it was meta-trained on, or of another."""

    rule: Annotated[
        Positional[Path],
        Doc("folder with config.json and model.safetensors, or a learner of the package by name"),
    ] = Path("rule")
    ensemble: Annotated[
        tuple[Path, ...], Doc("rules of the same task, whose encoders stand beside that of `rule`")
    ] = ()
    max_shift: Annotated[
        int, Doc("average image features over shifts by up to so many pixels at test")
    ] = 0
    out: Annotated[
        Path | None,
        Doc(
            "folder of results, which are overwritten; None: test, beside the rule, or here for a "
            "learner of the package"
        ),
    ] = None


def main(argv: Sequence[str]) -> None:
    config = cli.parse(Test, argv, preset(Test, argv))
    if config.rule == Test.rule and not config.rule.exists():
        raise ConfigError(
            "no rule was given, and there is no folder named rule here: name a folder that holds "
            "a config.json, RUN/rule."
        )
    from experiments.lab.networks.build import (
        evaluation_split,  # torch only loads once there is work to do
    )
    from metaplastic.files.rule_file import read_config

    source = read_config(config.rule)["provenance"]
    split = evaluation_split(config, source)
    test(over_recorded(Test, argv, source, config.rule), source, split)


def test(config: Test, source: dict[str, Any], split: str) -> None:
    """Evaluate; write the summary, the matrix and plots; print the table."""
    import torch

    from experiments.lab.figures.curves import plot_lifetimes
    from experiments.lab.networks.build import build_stream, own_classes, require_device, trained_on
    from experiments.lab.runs.evaluation import evaluate
    from metaplastic.evaluate.ensembles import ensemble
    from metaplastic.evaluate.shift_averaging import ShiftAveraged, with_shift_averaging
    from metaplastic.files.rule_file import from_pretrained

    if config.threads is not None:
        torch.set_num_threads(config.threads)
    require_device(config.device)
    learner = from_pretrained(config.rule, own_classes(source), config.device)
    stream = build_stream(config, split)
    require_fit(source.get("spec", {}), record_of(stream.spec))
    if config.max_shift and len(stream.spec.input_shape) != 3:
        raise ConfigError(f"--max-shift {config.max_shift} is for images, not {config.task}.")
    members = [learner, *others(config, source)]
    if config.max_shift:
        members = [
            one if isinstance(one.encoder, ShiftAveraged)
            else with_shift_averaging(one, config.max_shift)
            for one in members
        ]  # fmt: skip
    learner = ensemble(members) if config.ensemble else members[0]
    folder = config.out or config.rule.parent / "test"
    if not config.rule.exists():  # a learner of the package
        folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "result.json").exists():  # printed first, so that the command can be stopped
        print(f"The earlier results in {folder} will be replaced; --out FOLDER keeps both.")
    label = source.get("method", config.rule.name)
    result = evaluate(learner, stream, config, folder, trained_on(source)) | {"method": label}
    split_used = getattr(stream, "split", split)  # not among the settings
    write_json(folder / "result.json", {**result, "split": split_used, "settings": record(config)})
    plot_lifetimes(folder / "plots", {label: [result]})
    print(as_markdown(rows({label: [result]})))
    print(f"{spread(result)}; see {folder}.")


def others(config: Test, source: Mapping[str, Any]) -> list[OnlineLearner]:
    """The learners of `--ensemble`, which were meta-trained on the split that `rule` was."""
    from experiments.lab.networks.build import own_classes, trained_on
    from metaplastic.files.rule_file import from_pretrained, read_config

    found = []
    for path in config.ensemble:
        other = read_config(path)["provenance"]
        if trained_on(source) != trained_on(other):
            raise ConfigError(
                f"--ensemble {path} was meta-trained on split {trained_on(other)}, and "
                f"{config.rule} on {trained_on(source)}: name rules of one split."
            )
        found.append(from_pretrained(path, own_classes(other), config.device))
    return found


def spread(result: Mapping[str, Any]) -> str:
    """The interval of a result over its lifetimes, as a sentence."""
    low, high = result["interval"]
    if result["episodes"] == 1 or math.isnan(low) or math.isnan(high):
        count = "one lifetime" if result["episodes"] == 1 else f"{result['episodes']} lifetimes"
        return f"No interval over {count}"
    return f"95 % interval over {result['episodes']} lifetimes: {low:.4f} to {high:.4f}"


def record_of(spec: Any) -> dict[str, Any]:
    """The properties of a stream that a learner must match."""
    return {"kind": spec.kind, "input_shape": list(spec.input_shape), "outputs": spec.outputs}


def require_fit(trained: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise ConfigError for a stream that the learner cannot run on."""
    for name, value in now.items():
        before = trained.get(name, value)
        # A readout may have more outputs than classes, or be extended.
        if name == "outputs" and now["kind"] == "classification":
            continue
        if before != value:
            raise ConfigError(
                f"the rule was meta-trained for {name} = {before!r}, but this stream has "
                f"{value!r}: choose --task and --stream so that they agree."
            )


if __name__ == "__main__":
    cli.run(main)
