"""Import of torchvision, and of packages that need it, also beside a CPU build of torch.

The wheel of torchvision on PyPI is made for the GPU build, whose operators do not load beside a CPU
build: the import ends at "operator torchvision::nms does not exist". Once the operators have names,
all that is written in Python works (models, transforms, data sets, all of Avalanche); nms and the
like stay out of use.
"""

from __future__ import annotations

import importlib
import importlib.util
import pathlib
import re
import warnings
from functools import cache
from types import ModuleType
from typing import Any

import torch

AVALANCHE = (
    "Avalanche is not installed, which continual-learning benchmarks and strategies need; run "
    "pip install 'metaplastic[continual]' torchvision and then pip install --no-deps "
    "avalanche-lib==0.6.0, whose own requirements would replace torch."
)


@cache
def import_torchvision() -> object:
    """Import torchvision; what is returned is kept as long as the process lives.

    Raises:
        ImportError: where it is not installed.
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
        library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        pattern = r'register_(?:meta|fake)\("(?:torchvision::)?(\w+)"\)'
        for name in sorted(set(re.findall(pattern, source.read_text(encoding="utf-8")))):
            library.define(f"{name}(Tensor x) -> Tensor")
        importlib.import_module("torchvision")
        return library


@cache
def import_avalanche() -> ModuleType:
    """The package `avalanche`, with torchvision imported before it.

    Raises:
        ImportError: where it is not installed; the message says how to install it.
    """
    if importlib.util.find_spec("avalanche") is None:
        raise ImportError(AVALANCHE)
    if importlib.util.find_spec("torchvision") is not None:
        import_torchvision()
    with warnings.catch_warnings():
        # Its import warns of solvers and fonts that it may want later.
        warnings.simplefilter("ignore")
        for part in ("avalanche.benchmarks", "avalanche.training.templates"):
            importlib.import_module(part)
        return importlib.import_module("avalanche")
