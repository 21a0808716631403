"""Results that are kept one by one, so that a command that is run again goes on with the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.lab.runs.run_folder import origin, write_json
from experiments.lab.settings.registry import ConfigError


def kept(path: Path, make: Callable[[], Any]) -> dict[str, Any]:
    """What a file holds; made and written first where it is missing."""
    if not path.exists():
        write_json(path, make())
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def claim(path: Path, settings: Mapping[str, Any], holds: str) -> None:
    """Write the settings that the results of a folder have in common, or compare them.

    Args:
        path: of the settings, in that folder.
        holds: a pattern of the names of such results.

    Raises:
        ConfigError: if there are results that were made with others, or it is not known.
    """
    wanted = json.loads(json.dumps(settings))
    if path.exists():
        had = json.loads(path.read_text(encoding="utf-8"))
        other = [name for name in {**had, **wanted} if had.get(name) != wanted.get(name)]
        if other:
            said = ", ".join(f"{name} {had.get(name)!r}" for name in other)
            raise ConfigError(
                f"{path.parent} has results with {said}; ask for the same or choose another --out."
            )
    elif any(path.parent.glob(holds)):
        raise ConfigError(
            f"{path.parent} has results of settings that are not known, since it has no "
            f"{path.name}; choose another --out."
        )
    else:
        write_json(path, wanted)


def write(
    out: Path, name: str, parts: Sequence[str], numbers: Mapping[str, Any] | None = None
) -> None:
    """Print a table below where it is from, and write it, and numbers by the names of files."""
    whole = "\n\n".join((origin("cpu"), *parts))
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.md").write_text(whole + "\n", encoding="utf-8")
    for file, value in (numbers or {}).items():
        write_json(out / f"{file}.json", value)
    print(f"\n{whole}\n\nTable and numbers are in {out}.")
