"""Avalanche for tests: imported beside a CPU build of torch, or a skip with a sentence."""

from __future__ import annotations

import importlib.util
import os

import pytest

from metaplastic.support.torchvision_import import import_avalanche

MARKS = [
    pytest.mark.peer,
    # Its own code warns: of the criterion's type, of evaluation without a test stream, of solvers.
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def need_avalanche() -> None:
    """Import Avalanche, or skip what needs it."""
    if importlib.util.find_spec("avalanche") is None:
        if "METAPLASTIC_NEED_PEERS" in os.environ:
            pytest.fail("avalanche is not installed, and METAPLASTIC_NEED_PEERS asks for it")
        pytest.skip("avalanche is not installed", allow_module_level=True)
    import_avalanche()
