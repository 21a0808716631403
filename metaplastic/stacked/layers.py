"""Checks of layers that the written-out executor runs, with a message for each other one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from metaplastic.stacked.patches import check_unfolds
from metaplastic.stacked.pullback import POINTWISE
from metaplastic.stacked.readouts import Readout
from metaplastic.stacked.site import Site

KEEPS_UNITS = (*POINTWISE, nn.GroupNorm, nn.LayerNorm)
# Layers that are computed here in place of their own forward.
WRITTEN_OUT = (*KEEPS_UNITS, nn.Linear, nn.Conv2d, nn.MaxPool2d, nn.Flatten)
REFUSED = {
    nn.modules.batchnorm._BatchNorm: "mixes the statistics of different lifetimes. Use GroupNorm "
    "or LayerNorm,",
    nn.modules.dropout._DropoutNd: "samples anew whenever a step is recomputed or differentiated, "
    "so its meta-gradient would be that of another network. Leave it out,",
    nn.RNNBase: "cannot run with weights of its own for each lifetime. Use Linear or Conv2d,",
    nn.MultiheadAttention: "cannot run with weights of its own for each lifetime. Use Linear,",
    nn.Embedding: "cannot run with weights of its own for each lifetime. Use one-hot and Linear,",
}


def check_layer(name: str, layer: nn.Module) -> None:
    """Raise ValueError for a layer that would not be run as it is written."""
    for inside, module in layer.named_modules(prefix=name):
        for refused, reason in REFUSED.items():
            if isinstance(module, refused):
                raise ValueError(
                    f"Layer {inside!r} is a {type(module).__name__}, which {reason} or move it "
                    "into the encoder, which is run once for all lifetimes."
                )
        if getattr(module, "inplace", False):
            raise ValueError(
                f"Layer {inside!r} is a {type(module).__name__} that writes over its input, which "
                "the rule needs; use inplace=False."
            )
    for kind in WRITTEN_OUT:
        own = type(layer).forward is not kind.forward
        if isinstance(layer, kind) and own and not isinstance(layer, Readout):
            raise ValueError(
                f"Layer {name!r} is a {type(layer).__name__}, a {kind.__name__} with a forward of "
                "its own, which would not be called; put it into an nn.Module that is not one."
            )
    if isinstance(layer, nn.Linear | nn.Conv2d) and is_parametrized(layer):
        raise ValueError(
            f"Layer {name!r} has a parametrized weight, which a lifetime cannot change; bake it in "
            "with torch.nn.utils.parametrize.remove_parametrizations, or move it to the encoder."
        )
    if isinstance(layer, nn.Conv2d):
        check_unfolds(name, layer)


def check_apart(sites: Sequence[Site]) -> None:
    """Raise ValueError if two sites are the same module or would share meta-parameters."""
    modules: dict[nn.Module, Site] = {}
    keys: dict[str, Site] = {}
    for site in sites:
        if (first := modules.setdefault(site.module, site)) is not site:
            raise ValueError(
                f"Layer {site.name!r} is layer {first.name!r} again. A lifetime would give them "
                "different weights; make a layer for each."
            )
        for key in (site.key, site.bias_key):
            if (first := keys.setdefault(key, site)) is not site:
                raise ValueError(
                    f"The sites {first.name!r} and {site.name!r} would both keep rates as {key!r}; "
                    "rename one of them."
                )
