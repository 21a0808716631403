"""Other libraries that differentiate an inner loop, as references for gradients and speed.

Neither is needed to use ours. `peer` imports one of them, or says how to get it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from functools import cache
from types import ModuleType
from typing import Any, Literal

RECIPES = {
    "higher": "pip install higher==0.2.1",
    "learn2learn": "pip install --no-deps --config-settings=--build-option=build_ext "
    "learn2learn==0.2.0",
}


class PeerMissingError(ImportError):
    """The library is not installed; the message says how to install it."""


def peer(name: Literal["higher", "learn2learn"]) -> Any:
    """The module `higher`, or learn2learn's class `MAML`.

    Raises:
        PeerMissingError: it is not installed, or cannot be imported here.
    """
    try:
        # Both are older than the Python they run on, and say so while being imported.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", SyntaxWarning)
            if name == "higher":
                return importlib.import_module("higher")
            return _maml()
    except ImportError as reason:
        raise PeerMissingError(f"{name} cannot be imported ({reason}): {RECIPES[name]}") from reason


@cache
def _maml() -> Any:
    """learn2learn's MAML, past package files that draw in gym and torchvision at once."""
    spec = importlib.util.find_spec("learn2learn")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("No module named 'learn2learn'")
    already = {n: m for n, m in sys.modules.items() if n.partition(".")[0] == "learn2learn"}
    if "learn2learn" in already and hasattr(already["learn2learn"], "algorithms"):
        return already["learn2learn"].algorithms.MAML
    (root,) = spec.submodule_search_locations
    try:
        for package in ("learn2learn", "learn2learn.algorithms"):
            hollow = ModuleType(package)  # a package whose __init__ has not been run
            hollow.__path__ = [root if package == "learn2learn" else f"{root}/algorithms"]
            sys.modules[package] = hollow
        return importlib.import_module("learn2learn.algorithms.maml").MAML
    finally:
        # Whoever imports learn2learn in earnest afterwards must not find it hollow.
        for entry in [n for n in sys.modules if n.partition(".")[0] == "learn2learn"]:
            del sys.modules[entry]
        sys.modules.update(already)
