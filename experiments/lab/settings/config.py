"""Settings of the scripts: dataclasses that are the defaults, the help and the record of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_type_hints

from typing_extensions import Doc

from experiments.lab.settings import cli
from experiments.lab.settings.limits import require_type
from experiments.lab.settings.presets import TRAIN, of_preset
from experiments.lab.settings.registry import methods, require

Preset = Literal["laptop", "paper", "tiny"]
Order = Literal["incremental", "iid"]
LoggerName = Literal["tensorboard", "wandb"]
NAMED = (
    "files in experiments/methods, as METHOD or METHOD,option=value,... where train.option=value "
    "and test.option=value are of this one's stream"
)
PRESETS: tuple[Preset, ...] = get_args(Preset)


@dataclass(frozen=True, kw_only=True)
class Stream:
    """The stream of lifetimes."""

    preset: Annotated[Preset, Doc("chooses the defaults of everything below")] = "laptop"
    task: Annotated[str, Doc("a file in tasks")] = "sines"
    order: Annotated[Order, Doc("one class or function after another, or shuffled")] = "incremental"
    stream: Annotated[tuple[str, ...], Doc("options of the task, as name=value ...")] = ()
    data: Annotated[Path | None, Doc("folder of data files; None: METAPLASTIC_DATA")] = None
    seed: Annotated[int, Doc("determines weights, lifetimes and their order")] = 0
    episodes: Annotated[int, Doc("lifetimes in an evaluation")] = 500
    sweep: Annotated[
        tuple[float, ...],
        Doc("scales of a gradient learner's rates to choose from on validation lifetimes"),
    ] = ()
    device: Annotated[str, Doc("cpu, cuda, cuda:1, ...")] = "cpu"
    threads: Annotated[int | None, Doc("torch threads; None: torch's default")] = None
    debug: Annotated[bool, Doc("show where an error came from")] = False


@dataclass(frozen=True, kw_only=True)
class MetaTraining(Stream):
    """Settings of meta-training."""

    steps: Annotated[int, Doc("meta-steps")] = 4000
    minutes: Annotated[float | None, Doc("choose --steps to take about this long")] = None
    tasks: Annotated[int, Doc("lifetimes per meta-step")] = 8
    micro_batch: Annotated[int | None, Doc("lifetimes held in memory at once; None: all")] = None
    clip: Annotated[float | None, Doc("largest norm of a meta-gradient")] = 10.0
    schedule: Annotated[
        Literal["constant", "cosine", "published"],
        Doc("of the rates; published: weights x0.3 at 1500, 2500, 3500"),
    ] = "cosine"
    on_divergence: Annotated[
        Literal["skip", "stop"],
        Doc("handling of an unusable meta-step (see --loss-limit)"),
    ] = "skip"
    loss_limit: Annotated[
        float | None,
        Doc("a lifetime with a larger loss has diverged; initial losses are around 1 to 50"),
    ] = 1e4
    max_skipped: Annotated[int, Doc("consecutive unusable meta-steps that end the run")] = 10
    checkpoint_every: Annotated[
        int | None, Doc("inner steps between stored weights; the rest is recomputed (exact)")
    ] = None
    truncate: Annotated[
        int | None, Doc("number of last inner steps in the meta-gradient (truncated, biased)")
    ] = None
    compile: Annotated[bool, Doc("compile the inner step")] = False
    precision: Annotated[
        Literal["float32", "bfloat16"], Doc("of the encoder while meta-training")
    ] = "float32"
    log_every: Annotated[int, Doc("meta-steps between two lines of metrics")] = 10
    save_every: Annotated[int, Doc("meta-steps between two checkpoints")] = 200
    runs: Annotated[Path, Doc("folder of all runs")] = Path("runs")


@dataclass(frozen=True, kw_only=True)
class Train(MetaTraining):
    """Meta-train a method on a task stream and save the rule it found."""

    method: Annotated[str, Doc("a file in experiments/methods")] = "flp"
    options: Annotated[tuple[str, ...], Doc("options of the method, as name=value ...")] = ()
    rates: Annotated[
        tuple[str, ...], Doc("meta learning rates as group=value ..., over the method's own")
    ] = ()
    name: Annotated[str | None, Doc("of the run; None: composed of the above")] = None
    resume: Annotated[bool, Doc("resume the run of this name, bitwise")] = False
    overwrite: Annotated[bool, Doc("replace the run of this name")] = False
    log: Annotated[tuple[LoggerName, ...], Doc("further loggers")] = ()
    wandb_mode: Annotated[Literal["offline", "online"], Doc("offline: no data is sent")] = "offline"

    @property
    def run_name(self) -> str:
        parts = (self.task, self.order, self.method, *self.options, f"seed{self.seed}")
        return self.name or "-".join(part.replace("=", "_").replace("/", "_") for part in parts)


@dataclass(frozen=True, kw_only=True)
class Compare(MetaTraining):
    """Meta-train several methods on one stream, over several seeds, and print one table."""

    methods: Annotated[tuple[str, ...], Doc(NAMED)] = ("flp", "oml")
    seeds: Annotated[int, Doc("how many, counted up from --seed")] = 3
    jobs: Annotated[int, Doc("runs at a time, each on --threads threads")] = 1
    name: Annotated[str, Doc("of the comparison; existing runs are kept")] = "compare"


# Settings that older records lack, with their values for those runs.
ADDED: dict[str, Any] = {
    "loss_limit": None, "max_skipped": 10, "sweep": (), "precision": "float32",
}  # fmt: skip

Config = TypeVar("Config", bound=Stream)


def preset(config: type[Config], argv: Sequence[str]) -> Config:
    """The defaults that a command line's --preset and --task call for."""
    name, task = cli.peek(argv, "preset", "laptop"), cli.peek(argv, "task", config().task)
    require(name, PRESETS, "a preset")
    known = {field.name for field in fields(config)}
    chosen = {key: value for key, value in of_preset(TRAIN, name, task).items() if key in known}
    if "method" in known:
        chosen["method"] = cli.peek(argv, "method", "flp")
        require(chosen["method"], methods(), "a method")  # its options are part of --help
    return replace(config(), preset=name, task=task, **chosen)  # type: ignore[arg-type]


def over_recorded(
    config: type[Config], argv: Sequence[str], source: Mapping[str, Any], rule: Path
) -> Config:
    """A command line over the recorded stream of `rule`, unless it names another task.

    `source` is the provenance of the rule. Options of the stream extend those recorded. What a rule
    does not record, such as the number of lifetimes, is that of its preset, or of the preset on the
    command line.
    """
    if cli.is_given(argv, "task"):
        return cli.parse(config, argv, preset(config, argv))
    settings = source.get("settings", {})
    recorded = restore(config, settings, rule)
    size = cli.peek(argv, "preset", recorded.preset)
    require(size, PRESETS, "a preset")
    recorded = replace(recorded, preset=size)  # type: ignore[arg-type]
    own = {field.name for field in fields(config)} - set(settings)
    unsaid = of_preset(TRAIN, recorded.preset, recorded.task)
    recorded = replace(recorded, **{key: value for key, value in unsaid.items() if key in own})
    given = cli.parse(config, argv, recorded)
    if not cli.is_given(argv, "stream"):
        return given
    return replace(given, stream=(*recorded.stream, *given.stream))  # the last of a name counts


def record(config: Stream) -> dict[str, Any]:
    """A config as JSON-able values."""
    return {name: _plain(value) for name, value in asdict(config).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def restore(config: type[Config], values: Mapping[str, Any], source: Path) -> Config:
    """The config that `record` wrote as `values`."""
    default = config()
    known = {field.name: getattr(default, field.name) for field in fields(config)}
    for name in values:
        require(name, known, f"a setting of this version (in {source})")
    hints = get_type_hints(config)
    read = {name: before for name, before in ADDED.items() if name in known}
    for name, value in values.items():
        require_type(name, value, hints[name], source)
        holds_path = Path in (hints[name], *get_args(hints[name]))
        read[name] = (
            tuple(value) if isinstance(value, list)
            else Path(value) if holds_path and value is not None
            else value
        )  # fmt: skip
    return replace(default, **read)
