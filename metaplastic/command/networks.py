"""Networks of other packages, by name: torchvision's and timm's."""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from torch import nn

from metaplastic.command.errors import CommandError
from metaplastic.support.choices import did_you_mean
from metaplastic.support.torchvision_import import import_torchvision

PACKAGES = ("torchvision", "timm")
SIZE = 64  # pixels a side, where a network takes any


def network(name: str, classes: int, pretrained: bool = False) -> tuple[nn.Module, str, int]:
    """A new network with so many outputs, the package it is of, and the side of its images.

    Raises:
        CommandError: for a name that neither package has, where neither is installed, or where a
            network cannot be made with these outputs or weights.
    """
    known: dict[str, list[str]] = {}
    for package in PACKAGES:
        if find_spec(package) is None:
            continue
        names = _names(package)
        known[package] = names
        if name in names:
            return _made(package, name, classes, pretrained)
    if not known:
        raise CommandError(
            f"--model {name} is looked for in torchvision and timm, and neither is installed: "
            "`pip install torchvision`, or `pip install timm`."
        )
    every = [one for names in known.values() for one in names]
    raise CommandError(
        f"--model {name} is no network of {' or '.join(known)}.{did_you_mean(name, every)}"
    )


@cache
def _names(package: str) -> list[str]:
    _import(package)
    if package == "timm":
        return list(import_module("timm").list_models())
    models = import_module("torchvision.models")
    return list(models.list_models(module=models))


def _made(package: str, name: str, classes: int, pretrained: bool) -> tuple[nn.Module, str, int]:
    made: Any
    try:
        if package == "timm":
            made = import_module("timm").create_model(
                name, num_classes=classes, pretrained=pretrained
            )
            fixed = made.default_cfg.get("fixed_input_size")
            return made, package, made.default_cfg["input_size"][-1] if fixed else SIZE
        models = import_module("torchvision.models")
        if not pretrained:
            made = models.get_model(name, num_classes=classes)
        else:
            made = models.get_model(name, weights="DEFAULT")
            _new_readout(made, classes)
        return made, package, getattr(made, "image_size", SIZE)
    except CommandError:
        raise
    except Exception as error:  # of another package: anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CommandError(
            f"{package} cannot make {name} with {classes} outputs"
            f"{' and its weights' if pretrained else ''} ({reason}); choose another --model"
            f"{', or leave out --pretrained' if pretrained else ''}."
        ) from error


def _new_readout(model: nn.Module, classes: int) -> None:
    """A new last layer, of so many outputs, in the place of the pretrained one."""
    path, last = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)][-1]
    parent, _, own = path.rpartition(".")
    setattr(model.get_submodule(parent), own, nn.Linear(last.in_features, classes))


def _import(package: str) -> None:
    """Import the package, and torchvision before it, for which timm looks, too.

    Raises:
        CommandError: if it cannot be imported.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other packages' own
        try:
            if find_spec("torchvision") is not None:
                import_torchvision()
            import_module(package)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise CommandError(
                f"{package} is installed, but cannot be imported ({reason}): install the release "
                "of it that was made for this torch."
            ) from error
