"""Initialization: the plastic weights at the start of a lifetime."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from metaplastic.inner.network import PlasticNetwork
from metaplastic.stacked.site import Site
from metaplastic.stacked.stack import FastWeights
from metaplastic.support.choices import check_choice
from metaplastic.support.noise import fold, normal
from metaplastic.support.renamed import former_names

Origin = Literal["learned", "redrawn", "zeroed"]
ReadoutOrigin = Literal["learned", "redrawn", "zeroed", "rows", "blank"]
__getattr__ = former_names(globals(), Birth="Initialization", born="initialize")


@dataclass(frozen=True)
class Initialization:
    """How plastic weights are initialized in a lifetime: those of hidden sites, and the readout.

    `learned`: the meta-learned weights. `redrawn`: Kaiming-normal (fan-in, gain sqrt 2), zero bias,
    sampled anew in each lifetime, so that meta-training can learn only the rule and the encoder.
    `zeroed`: zeros. `rows` (readout only): the meta-learned weights, except the rows of the classes
    of the lifetime, which are sampled anew, as in OML, so that no class can be memorized.
    `blank`: the same with zeros in these rows, for rules that need no random initial weights.
    """

    hidden: Origin = "learned"
    readout: ReadoutOrigin = "learned"

    def __post_init__(self) -> None:
        check_choice("hidden", self.hidden, Origin)
        check_choice("readout", self.readout, ReadoutOrigin)

    @property
    def by_class(self) -> bool:
        """Whether the readout's initialization depends on the classes of the lifetime."""
        return self.readout in ("rows", "blank")


def initialize(
    how: Initialization, sites: Sequence[Site], support_y: Tensor, seed: Tensor
) -> FastWeights:
    """The initial plastic weights of `len(seed)` lifetimes, sampled by each lifetime's seed.

    Args:
        support_y: `tasks steps batch`, which rows `rows` and `blank` replace; unused otherwise.
        seed: `tasks`, int64.
    """
    named = [
        (f"{site.name}.{kind}", learned, site is sites[-1])
        for site in sites
        for kind, learned in site.module.named_parameters()
    ]
    return _initialized(how, named, support_y, seed)


def initial_weights(
    how: Initialization, network: PlasticNetwork, support_y: Tensor, seed: Tensor
) -> FastWeights:
    """`initialize` for the parameters of any network."""
    own, biases = dict(network.module.named_parameters()), network.found.biases
    last, weight = network.readout, network.parameter(network.readout)
    named = [
        (name, own[name], name == weight or biases.get(name) == last) for name in network.learned
    ]
    return _initialized(how, named, support_y, seed)


def _initialized(
    how: Initialization, named: Sequence[tuple[str, Tensor, bool]], support_y: Tensor, seed: Tensor
) -> FastWeights:
    tasks, fast = seed.shape[0], {}
    for name, learned, is_readout in named:
        origin = how.readout if is_readout else how.hidden
        shared = learned.expand(tasks, *learned.shape)
        if origin == "learned":
            weight = shared
        elif origin in ("zeroed", "blank") or learned.dim() == 1:
            weight = torch.zeros_like(shared)
        else:
            weight = _kaiming(name, learned, seed)
        if origin in ("rows", "blank"):
            taught = _rows_taught(support_y, learned.shape[0])
            weight = torch.where(
                taught.view(*taught.shape, *[1] * (learned.dim() - 1)), weight, shared
            )
        fast[name] = weight
    return fast


def _kaiming(name: str, like: Tensor, seed: Tensor) -> Tensor:
    std = math.sqrt(2 / like[0].numel())
    sampled = [
        normal(fold(own, "weights", name), tuple(like.shape), like.dtype) for own in seed.unbind()
    ]
    return torch.stack(sampled) * std


def _rows_taught(support_y: Tensor, outputs: int) -> Tensor:
    if support_y.is_floating_point():
        raise ValueError(
            "The initialization redraws readout rows by class, but the targets are real numbers; "
            "use 'redrawn', 'zeroed' or 'learned' for regression."
        )
    met = support_y.new_zeros(support_y.shape[0], outputs, dtype=torch.bool)
    return met.scatter_(1, support_y.flatten(1), True)
