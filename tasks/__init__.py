"""Task streams: seeded samplers of lifetimes, one file each.

`build("omniglot", ways=20)` finds the stream in `tasks/omniglot.py`. A stream is whatever satisfies
`metaplastic.episode.TaskStream`; a new one is a new file holding a class of the file's name,
`tasks/split_cubes.py` with `SplitCubes`, without registration. Everything here
depends on `metaplastic.episode` alone.

The scripts read a stream's options off its fields, so there it is a dataclass, with a field
`split` that may be "train" or "test". Those with two orders, "iid" and another, have a field
`order`, a Literal of the two; those without it have one order.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metaplastic.episode import TaskStream


def names() -> list[str]:
    """The names of all streams: files with a class of the same name, found without importing."""
    return sorted(file.stem for file in Path(__file__).parent.glob("*.py") if _class_in(file))


def build(name: str, **options: object) -> TaskStream:
    """The stream in the file `name`, made with `options`."""
    stream = stream_class(name)
    known = list(inspect.signature(stream).parameters)
    for option in options:
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}; {_nearest(option, known)}")
    built: TaskStream = stream(**options)
    return built


def stream_class(name: str) -> Any:
    """The class of the stream in the file `name`."""
    if name not in names():
        raise ValueError(f"There is no stream {name!r}; {_nearest(name, names())}")
    file = Path(__file__).with_name(f"{name}.py")
    return getattr(importlib.import_module(f"{__name__}.{name}"), _class_in(file))


def _class_in(file: Path) -> str:
    """The class with the file's name, ignoring case, or an empty string."""
    wanted = file.stem.replace("_", "")
    classes = re.findall(r"^class (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    return next((name for name in classes if name.lower() == wanted), "")


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}."
