"""Other people's networks: what must be done before a package of them can be imported."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache

from metaplastic.support.torchvision_import import import_torchvision


@cache
def prepare(package: str) -> object:
    """Import a package, and before it torchvision, which several of them look for.

    What is returned is kept as long as the process lives.
    """
    kept = import_torchvision() if importlib.util.find_spec("torchvision") else None
    importlib.import_module(package)
    return kept
