"""Run folders: all settings, records and results of a run.

runs/NAME/config.json        every setting
          resolved.json      what the settings come to: options of streams and method, rates, sizes
          environment.json   where, when, by which versions and which command
          metrics.jsonl      one JSON object a line
          checkpoints/ plots/ rule/ result.json
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from experiments.lab.settings.registry import ConfigError

FORMER_KEYS = {"taught": "trajectory", "paces": "rate_scales"}  # in results of older runs
PACKAGES = ("numpy", "safetensors", "matplotlib")


@dataclass(frozen=True)
class RunFolder:
    """The parts of a run's folder by name."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.json"

    @property
    def resolved(self) -> Path:
        return self.root / "resolved.json"

    @property
    def environment(self) -> Path:
        return self.root / "environment.json"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def plots(self) -> Path:
        return self.root / "plots"

    @property
    def rule(self) -> Path:
        return self.root / "rule"

    @property
    def result(self) -> Path:
        return self.root / "result.json"

    def refuse(self, overwrite: bool) -> None:
        """Raise ConfigError for a folder with content, unless it is a run to be overwritten."""
        if not self.root.exists() or self._is_bare():
            return
        if not self.config.is_file():
            raise ConfigError(
                f"{self.root} is not empty and holds no config.json, so it is not a run of "
                "ours: choose another --name."
            )
        if not overwrite:
            raise ConfigError(
                f"{self.root} already holds a run: resume it with --resume, replace it with "
                "--overwrite, or choose another --name."
            )
        if others := self.others():
            raise ConfigError(
                f"{self.root} holds other runs, too ({', '.join(others[:3])}"
                f"{', ...' if len(others) > 3 else ''}), which --overwrite would delete: move them "
                "elsewhere, or choose another --name."
            )

    def others(self) -> list[str]:
        """Runs in folders below this one; a config beside tensors is that of a rule file."""
        found = sorted(self.root.rglob("config.json")) if self.root.is_dir() else []
        return [
            str(path.parent.relative_to(self.root))
            for path in found
            if path != self.config
            and not path.with_name("model.safetensors").exists()
            and not path.parent.match(".*.tmp")  # what a kill left of a rule file
        ]

    def _is_bare(self) -> bool:
        """Whether there are only leftovers of a run killed before its start."""
        return self.root.is_dir() and all(
            (path.is_dir() and not path.is_symlink()) or path.match(".*.tmp")
            for path in self.root.rglob("*")
        )

    def start(self, config: dict[str, Any]) -> None:
        """Create the folder, replacing an existing run, and record the settings."""
        former = self.root.with_name(f".{self.root.name}.former")
        shutil.rmtree(former, ignore_errors=True)
        if self.config.is_file():
            self.root.replace(former)  # atomically: an incomplete run could not be replaced again
            shutil.rmtree(former)
        # First, because a folder with a config can be resumed or replaced after a kill.
        write_json(self.config, config)
        self.complete()

    def complete(self) -> None:
        """Add what is missing after a kill at the start."""
        self.plots.mkdir(exist_ok=True)
        if not self.environment.is_file():
            write_json(self.environment, environment())

    def recorded(self) -> dict[str, Any]:
        """The settings a run was started with."""
        return read_json(
            self.config,
            "start the run without --resume first",
            "it is lost, replace the run by --overwrite or delete its folder",
        )

    def results(self) -> dict[str, Any]:
        """The results of a finished run."""
        found = read_json(self.result, "the run is not finished, resume it with --resume")
        return {FORMER_KEYS.get(key, key): value for key, value in found.items()}


def environment() -> dict[str, Any]:
    """Versions and hardware of a run."""
    import torch

    from metaplastic.files.provenance import provenance

    return provenance() | {
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {name: version(name) for name in PACKAGES},
    }


def origin(device: str = "cpu") -> str:
    """The environment in one line, for tables of results on `device`."""
    import torch

    facts = environment()
    machine = f"{facts['cpu']}, {facts['cpus']} cores"
    if device != "cpu":
        gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
        machine += f", {gpu}"
    commit = f", commit {facts['git_commit'][:10]}" if "git_commit" in facts else ""
    return f"`{facts['command']}`: {facts['date'][:10]}, {machine}, torch {facts['torch']}{commit}."


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, atomically."""
    # Imported here: the package imports torch, which is not needed for --help.
    from metaplastic.support.disk import write_atomically
    from metaplastic.support.json_values import finite

    text = json.dumps(finite(value), indent=2, allow_nan=False)
    write_atomically(path, f"{text}\n".encode())


def read_json(path: Path, advice: str, repair: str | None = None) -> dict[str, Any]:
    """A JSON object from a file of ours, or a sentence with `advice`; `repair` if it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: {advice}.") from None
    except (ValueError, RecursionError) as error:  # the latter for lists within lists
        raise ConfigError(f"{path} is damaged ({error}): {repair or advice}.") from error
    if not isinstance(value, dict):
        raise ConfigError(
            f"{path} holds a {type(value).__name__}, not an object: {repair or advice}."
        )
    return value


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON-lines file; a last line cut short by a kill is left out."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            if number < len(lines):
                raise ConfigError(f"line {number} of {path} is damaged ({error}).") from error
    return records
