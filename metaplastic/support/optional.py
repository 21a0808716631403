"""Packages that only some uses need: imported when they are, with a sentence where missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class MissingPackageError(ImportError):
    """A package that this use needs is not installed; the message says how to install it."""


def need(module: str, why: str, install: str) -> Any:
    """The module of this name.

    Args:
        why: what needs it, as the beginning of a sentence.
        install: what to hand to `pip install`.

    Raises:
        MissingPackageError: if it cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingPackageError(
            f"{why} needs {package}, which cannot be imported ({error}): pip install {install}"
        ) from error
