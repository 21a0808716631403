"""The settings of a comparison on changed inputs."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from typing_extensions import Doc

from experiments.lab.settings import cli
from experiments.lab.settings.registry import ConfigError, methods, require, split_options
from experiments.lab.settings.seeds import OverSeeds

Preset = Literal["laptop", "tiny"]
Change = Literal["mixing", "drift", "contrast", "permutation", "classes"]
ERROR_DRIVEN = "teaching=error,plasticity=hebb,rate=0.02"
HIDDEN = f"{ERROR_DRIVEN},gate=derivative,nonlinearity=linear,hidden=0.1"
LEARNERS = {
    "readout": f"flp_stable,plastic=1,{ERROR_DRIVEN}",
    "hidden": f"flp_stable,plastic=all,{HIDDEN}",
    "random": f"flp_stable,plastic=all,{HIDDEN},feedback=random",
    "oml": "oml",
    "prototypes": "prototypes",
    "sbmcl": "sbmcl",
}
TITLES = {
    "readout": "FLP, readout-only plasticity",
    "hidden": "FLP, hidden plasticity",
    "random": "FLP, hidden plasticity, random feedback",
    "oml": "OML, last two layers",
    "prototypes": "prototypes, frozen encoder",
    "sbmcl": "sequential Bayes (SB-MCL), frozen encoder",
}
TINY: dict[str, Any] = {
    "stream": ("ways=2", "shots=2", "queries_per_class=2"), "changes": ("mixing",),
    "strengths": (0.0, 1.0), "learners": ("readout", "hidden", "sbmcl"), "steps": 2, "tasks": 2,
    "episodes": 3, "seeds": 2,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class WhenPlastic(OverSeeds):
    """Gain of hidden plasticity against the size of a change of the inputs, new in each lifetime.

    Every method is meta-trained on lifetimes whose inputs are changed at strengths from 0 to 1, and
    tested on new classes at each of --strengths. The first of --learners is what the others are
    compared with, lifetime by lifetime.
    """

    preset: Annotated[Preset, Doc("tiny: a check that everything runs")] = "laptop"
    base: Annotated[str, Doc("a classification stream in tasks, whose inputs are changed")] = (
        "clusters"
    )
    stream: Annotated[tuple[str, ...], Doc("options of the base, as name=value ...")] = (
        "shots=20", "batch=4",
    )  # fmt: skip
    changes: Annotated[tuple[Change, ...], Doc("kinds of change; see tasks/changed_inputs.py")] = (
        get_args(Change)
    )
    strengths: Annotated[tuple[float, ...], Doc("of the change, in tests")] = (
        0.0, 0.25, 0.5, 0.75, 1.0,
    )  # fmt: skip
    met: Annotated[bool, Doc("meta-train on changed lifetimes; else on those without change")] = (
        True
    )
    learners: Annotated[
        tuple[str, ...],
        Doc(f"of {', '.join(LEARNERS)}, or METHOD,option=value,...; plastic=all: all layers"),
    ] = ("readout", "hidden", "oml", "prototypes", "sbmcl")
    steps: Annotated[int, Doc("meta-steps")] = 300
    tasks: Annotated[int, Doc("lifetimes per meta-step")] = 8
    episodes: Annotated[int, Doc("test lifetimes at each strength, the same for all")] = 200
    threads: Annotated[int, Doc("of the processor")] = 1
    out: Annotated[Path, Doc("folder of runs, table and figure")] = Path("runs/when_plastic")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Everything that decides a run but its seed."""

    base: str
    stream: tuple[str, ...]
    change: str
    strengths: tuple[float, ...]
    met: bool
    method: str
    steps: int
    tasks: int
    episodes: int
    test_seed: int
    preset: str

    @property
    def name(self) -> str:
        """A name for a folder."""
        part = self.change if self.met else f"{self.change}-not-met"
        return f"{self.base}-{part}/" + self.method.replace("=", "_").replace(",", "-")


def read(argv: Sequence[str]) -> WhenPlastic:
    """The command line over the preset that it names."""
    name = cli.peek(argv, "preset", "laptop")
    require(name, get_args(Preset), "a preset")
    start = WhenPlastic()
    if name == "tiny":
        start = replace(start, **TINY, preset="tiny")
    config = cli.parse(WhenPlastic, argv, start)
    if len(config.learners) < 2 or len(set(config.learners)) < len(config.learners):
        raise ConfigError(
            f"--learners is {' '.join(config.learners)}: give two or more, each once, first "
            "the one that the others are compared with."
        )
    for label in config.learners:
        method, _ = method_and_options(label)
        require(method, methods(), "a method")
    if not config.strengths or not all(0 <= s <= 1 for s in config.strengths):
        raise ConfigError(f"--strengths is {config.strengths}: at least one, each from 0 to 1.")
    if sorted(set(config.strengths)) != list(config.strengths):
        raise ConfigError(f"--strengths is {config.strengths}: give them in increasing order.")
    if not config.changes:
        raise ConfigError(f"--changes is empty: give one or more of {', '.join(get_args(Change))}.")
    if config.base == "changed_inputs":
        raise ConfigError("--base is changed_inputs itself: name the stream that it changes.")
    if config.episodes < 2 or math.isinf(config.episodes):
        raise ConfigError(f"--episodes is {config.episodes}: an interval needs at least two.")
    split_options("--stream", config.stream)
    return config


def method_and_options(label: str) -> tuple[str, tuple[str, ...]]:
    """The method that one of --learners names, and its options as name=value."""
    method, _, rest = LEARNERS.get(label, label).partition(",")
    return method, tuple(re.split(r",(?=\w+=)", rest)) if rest else ()


def setting(config: WhenPlastic, change: str, method: str) -> Setting:
    return Setting(
        base=config.base, stream=config.stream, change=change, strengths=config.strengths,
        met=config.met, method=LEARNERS.get(method, method), steps=config.steps,
        tasks=config.tasks, episodes=config.episodes, test_seed=config.seed, preset=config.preset,
    )  # fmt: skip
