"""The provenance of a rule: command, versions, data and date."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from metaplastic.episode import StreamSpec


def provenance(seed: int | None = None, data: StreamSpec | None = None) -> dict[str, Any]:
    """The provenance of this process, for a rule file. Unknown facts are omitted."""
    facts: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.orig_argv[0]).name, *map(portable, sys.orig_argv[1:])]),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": version("numpy"),
        "safetensors": version("safetensors"),
        "metaplastic": _version(),
        "git_commit": _commit(),
        "seed": seed,
    }
    if data is not None:
        facts |= {"data": data.name, "data_fingerprint": data.fingerprint}
    return {name: fact for name, fact in facts.items() if fact is not None}


def portable(word: str) -> str:
    """A word of a command line without the folders of this machine.

    An absolute path, alone or behind an equals sign, is given from the working directory where it
    is below that, and by its last part elsewhere.
    """
    name, equals, value = word.rpartition("=")
    path, here = Path(value), Path.cwd()
    if not path.is_absolute():
        return word
    short = path.relative_to(here) if path.is_relative_to(here) else Path(path.name)
    return f"{name}{equals}{short}"


def _version() -> str:
    try:
        return version("metaplastic")
    except PackageNotFoundError:  # run from a clone that is not installed
        from metaplastic import __version__  # here, because the package imports this module

        return __version__


def _commit() -> str | None:
    """The commit of the working directory, with a plus sign where files differ from it."""
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() or None
