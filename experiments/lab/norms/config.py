"""The settings of a comparison of normalizations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from typing_extensions import Doc

from experiments.lab.settings import cli
from experiments.lab.settings.registry import ConfigError, require
from experiments.lab.settings.seeds import OverSeeds

Norms = Literal["stored", "slow", "own"]
Start = Literal["pretrained", "random"]
Preset = Literal["laptop", "tiny"]
NORMS: dict[Norms, str] = {
    "stored": "stored: running statistics, which stay",
    "slow": "slow: running statistics, which move by 1 % an example",
    "own": "own: statistics of the example",
}
STARTS: dict[Start, str] = {
    "pretrained": "pretrained on five other classes by backprop, the readout new",
    "random": "random weights, statistics as made",
}
OLD, NEW = range(5), range(5, 10)  # classes of pretraining, and those learned online
TINY: dict[str, Any] = {
    "epochs": 1, "batch": 4, "examples": 3, "tune_examples": 2, "seeds": 2, "rates": (0.01, 0.03),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Compare(OverSeeds):
    """ResNet-20 with BatchNorm learns new classes one example at a time, by three statistics."""

    preset: Annotated[Preset, Doc("tiny: a check that everything runs")] = "laptop"
    norms: Annotated[tuple[Norms, ...], Doc("what a BatchNorm is computed with")] = tuple(NORMS)
    starts: Annotated[tuple[Start, ...], Doc("where learning begins")] = tuple(STARTS)
    rules: Annotated[tuple[str, ...], Doc("in metaplastic.rules, with the delta rule")] = (
        "backprop", "kolen_pollack",
    )  # fmt: skip
    width: Annotated[int, Doc("channels of the first stage; He et al. have 16")] = 8
    epochs: Annotated[int, Doc("of pretraining, ordinary minibatches")] = 6
    batch: Annotated[int, Doc("images in a minibatch of pretraining")] = 64
    examples: Annotated[int, Doc("learned online, one at a time")] = 300
    rates: Annotated[tuple[float, ...], Doc("to choose from on held-out images")] = (
        0.0003, 0.001, 0.003, 0.01, 0.03,
    )  # fmt: skip
    tune_examples: Annotated[int, Doc("learned online for each rate that is tried")] = 150
    threads: Annotated[int, Doc("of the processor")] = 1
    out: Annotated[Path, Doc("folder of networks, runs and table")] = Path("runs/norms")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Everything that decides a run but its seed.

    Args:
        held_out: learn from four fifths of the training images of the new classes, and be tested on
            the others, in place of the test images.
    """

    start: Start
    rule: str
    norms: Norms
    rate: float
    examples: int
    width: int
    epochs: int
    batch: int
    held_out: bool

    @property
    def name(self) -> str:
        """A name for a folder."""
        part = "held-out" if self.held_out else "test"
        return "-".join((part, self.start, self.rule, self.norms, f"{self.rate:g}"))


def read(argv: Sequence[str]) -> Compare:
    """The command line over the preset that it names."""
    name = cli.peek(argv, "preset", "laptop")
    require(name, get_args(Preset), "a preset")
    start = replace(Compare(), **TINY, preset="tiny") if name == "tiny" else Compare()
    config = cli.parse(Compare, argv, start)
    for flag in ("width", "epochs", "batch", "tune_examples"):
        if getattr(config, flag) < 1:
            raise ConfigError(f"{cli.flag(flag)} is below 1: it must be at least 1.")
    if not config.rates or not all(0 < rate < float("inf") for rate in config.rates):
        raise ConfigError(f"--rates is {config.rates}: at least one, each above 0 and finite.")
    return config


def setting(
    config: Compare, start: Start, rule: str, norms: Norms, rate: float, *, held_out: bool
) -> Setting:
    return Setting(
        start=start, rule=rule, norms=norms, rate=rate, held_out=held_out, width=config.width,
        examples=config.tune_examples if held_out else config.examples, epochs=config.epochs,
        batch=config.batch,
    )  # fmt: skip
