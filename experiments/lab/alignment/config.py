"""The settings of an alignment run, and the settings that are tried where a default fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from typing_extensions import Doc

from experiments.lab.settings import cli
from experiments.lab.settings.registry import ConfigError, require
from experiments.lab.settings.seeds import OverSeeds

LABELS = {
    "weight_mirror": "weight mirror",
    "kolen_pollack": "Kolen-Pollack",
    "information_alignment": "information alignment",
    "symmetric_alignment": "symmetric alignment",
    "activation_alignment": "activation alignment",
    "product_feedback_alignment": "product feedback alignment",
    "batchwise_random_sign": "batchwise random sign",
    "mirror_regularizer": "mirror regularizer",
    "feedback_alignment": "feedback alignment (fixed feedback)",
}
NETWORKS = {
    "mlp": "MLP 784-128-64-10, ReLU",
    "conv": "conv network, 8-16-32 channels, GroupNorm, ReLU",
}
Way = Literal["online", "optimizer"]
WAYS: dict[Way, str] = {
    "online": "PlasticModule, one example at a time",
    "optimizer": "Credit.backward and SGD, minibatches of one",
}
Preset = Literal["laptop", "tiny"]
DECAYED = ("kolen_pollack", "product_feedback_alignment")  # rules that expect the weights to decay
TINY: dict[str, Any] = {"examples": 12, "every": 4, "seeds": 2, "tune": False}

# Settings other than the defaults, tried on another data set where the default does not align.
CANDIDATES: dict[str, tuple[dict[str, Any], ...]] = {
    "weight_mirror": (
        {"examples": 16}, {"examples": 64}, {"rate": 0.003, "decay": 0.003, "examples": 16},
    ),
    "kolen_pollack": ({"decay": 0.003}, {"decay": 0.01}, {"decay": 0.03}),
    "product_feedback_alignment": ({"decay": 0.003}, {"decay": 0.01}, {"decay": 0.03}),
    "information_alignment": (
        {"rate": 1e-3}, {"rate": 1e-4}, {"rate": 1e-3, "inputs": "noise"},
        {"rate": 1e-3, "inputs": "noise", "decay": 0.5},
        {"rate": 1e-4, "inputs": "noise", "decay": 0.5},
    ),
    "activation_alignment": (
        {"rate": 3e-3}, {"rate": 1e-3}, {"rate": 1e-4}, {"inputs": "noise"},
        {"rate": 3e-3, "inputs": "noise"},
    ),
    "mirror_regularizer": (
        {"rate": 3e-3}, {"rate": 1e-3}, {"rate": 3e-3, "amp": 0.02},
        {"rate": 1e-3, "amp": 0.02},
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Align(OverSeeds):
    """Angles between W and what carries errors back, over single examples, rule by rule."""

    preset: Annotated[Preset, Doc("tiny: a check that everything runs")] = "laptop"
    rules: Annotated[tuple[str, ...], Doc(f"of {' '.join(LABELS)}")] = tuple(LABELS)
    networks: Annotated[tuple[str, ...], Doc(f"of {' '.join(NETWORKS)}")] = tuple(NETWORKS)
    ways: Annotated[tuple[Way, ...], Doc("PlasticModule; Credit.backward with SGD")] = tuple(WAYS)
    examples: Annotated[int, Doc("shown one at a time")] = 1000
    rate: Annotated[float, Doc("of the weights, plain SGD")] = 0.01
    every: Annotated[int, Doc("examples from one measurement of angles to the next")] = 20
    tune: Annotated[
        bool, Doc("where a default does not align, choose another setting on --tune-set and run it")
    ] = True
    decayed: Annotated[
        bool, Doc(f"with an optimizer also: {' and '.join(DECAYED)}, weights decaying as feedback")
    ] = True
    data_set: Annotated[Literal["fashion_mnist", "mnist"], Doc("of the results")] = "fashion_mnist"
    tune_set: Annotated[Literal["fashion_mnist", "mnist"], Doc("to choose settings on")] = "mnist"
    threads: Annotated[int, Doc("of the processor")] = 1
    out: Annotated[Path, Doc("folder of runs, table and figures")] = Path("runs/align")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Everything that decides a run but its seed.

    Args:
        weight_decay: of the optimizer, at the weights of sites; Kolen-Pollack's `decay / rate`.
    """

    rule: str
    network: str
    way: Way
    data_set: str
    examples: int
    rate: float
    every: int
    options: dict[str, Any] = field(default_factory=dict)
    weight_decay: float = 0.0

    @property
    def name(self) -> str:
        """A name for a folder."""
        more = [f"{key}={value}" for key, value in sorted(self.options.items())]
        more += [f"weight_decay={self.weight_decay:g}"] if self.weight_decay else []
        return "-".join((self.data_set, self.network, self.way, self.rule, *more))

    @property
    def label(self) -> str:
        """A name for people."""
        more = [f"{key} {value}" for key, value in self.options.items()]
        more += ["weights decay, too"] if self.weight_decay else []
        return LABELS[self.rule] + (f" ({', '.join(more)})" if more else "")


def read(argv: Sequence[str]) -> Align:
    """The command line over the preset that it names."""
    name = cli.peek(argv, "preset", "laptop")
    require(name, get_args(Preset), "a preset")
    start = replace(Align(), **TINY, preset="tiny") if name == "tiny" else Align()
    config = cli.parse(Align, argv, start)
    for rule in config.rules:
        require(rule, tuple(LABELS), "a rule of this command")
    for network in config.networks:
        require(network, tuple(NETWORKS), "a network of this command")
    if config.every < 1 or config.examples % config.every:
        raise ConfigError(
            f"--every is {config.every}: it must divide --examples, which is {config.examples}."
        )
    if not 0 <= config.rate < float("inf"):
        raise ConfigError(f"--rate is {config.rate}: it must be at least 0 and finite.")
    return config


def defaults(config: Align) -> list[Setting]:
    """All runs by the rules' own defaults, network by network."""
    found = []
    for network in config.networks:
        for rule in config.rules:
            for way in config.ways:
                setting = Setting(
                    rule=rule, network=network, way=way, data_set=config.data_set,
                    examples=config.examples, rate=config.rate, every=config.every,
                )  # fmt: skip
                found.append(setting)
                if config.decayed and way == "optimizer" and rule in DECAYED and config.rate:
                    found.append(replace(setting, weight_decay=1e-3 / config.rate))
    return found
