"""Other people's networks: what must be done before a package of them can be imported."""

from __future__ import annotations

import importlib
import importlib.util
import pathlib
import re
import warnings
from functools import cache

import torch


@cache
def prepare(package: str) -> object:
    """Import a package, and before it torchvision, which several of them look for.

    What is returned is kept as long as the process lives.
    """
    kept = torchvision() if importlib.util.find_spec("torchvision") else None
    importlib.import_module(package)
    return kept


@cache
def torchvision() -> object:
    """Import torchvision, also where its operators were built for another torch.

    The wheel on PyPI is made for the GPU build, whose operators do not load beside a CPU build:
    the import ends at "operator torchvision::nms does not exist". Once the operators have names,
    all that is written in Python works; nms and the like stay out of use.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit.script
        try:
            importlib.import_module("torchvision")
            return None
        except RuntimeError as reason:
            if "does not exist" not in str(reason):
                raise
        found = importlib.util.find_spec("torchvision")
        assert found is not None
        assert found.submodule_search_locations is not None
        source = pathlib.Path(found.submodule_search_locations[0], "_meta_registrations.py")
        library = torch.library.Library("torchvision", "DEF")
        pattern = r'register_(?:meta|fake)\("(?:torchvision::)?(\w+)"\)'
        for name in sorted(set(re.findall(pattern, source.read_text(encoding="utf-8")))):
            library.define(f"{name}(Tensor x) -> Tensor")
        importlib.import_module("torchvision")
        return library
