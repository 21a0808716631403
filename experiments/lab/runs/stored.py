"""A result that is measured once: read where it is there, else measured and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.lab.runs.run_folder import read_json, write_json
from experiments.lab.settings.registry import ConfigError

Run = dict[str, Any]


def stored(path: Path, settings: Mapping[str, Any], measure: Callable[[], Run]) -> Run:
    """The result in a file; what is measured holds its `settings`.

    Raises:
        ConfigError: if the file there is of other settings.
    """
    if not path.exists():
        write_json(path, measure())
    found: Run = read_json(path, "delete it to measure again")
    if found["settings"] != settings:
        raise ConfigError(f"{path} is of other settings: choose another --out.")
    return found


def path_of(out: Path, name: str, seed: int) -> Path:
    """Where the result of a setting of this name and a seed is kept."""
    return out / "runs" / name / f"seed-{seed}.json"
