"""Birth: where the plastic weights of a new lifetime come from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from metaplastic.stacked.site import Site
from metaplastic.stacked.stack import FastWeights
from metaplastic.support.choices import check_choice

Origin = Literal["learned", "redrawn", "zeroed"]
ReadoutOrigin = Literal["learned", "redrawn", "zeroed", "rows", "blank"]


@dataclass(frozen=True)
class Birth:
    """Plastic weights at the start of a lifetime: for hidden sites, and for the readout.

    `learned`: the meta-learned weights. `redrawn`: Kaiming-normal (fan-in, gain sqrt 2), zero bias,
    fresh for each lifetime, so that nothing but the rule and the encoder can be learned.
    `zeroed`: zeros. `rows` (readout only): the meta-learned weights, but the rows of the classes
    that the lifetime will meet are redrawn, as OML does so that no class can be memorized.
    `blank`: the same with zeros in these rows, for rules that need no symmetry broken.
    """

    hidden: Origin = "learned"
    readout: ReadoutOrigin = "learned"

    def __post_init__(self) -> None:
        check_choice("hidden", self.hidden, Origin)
        check_choice("readout", self.readout, ReadoutOrigin)

    @property
    def by_class(self) -> bool:
        """Whether the readout's birth depends on the classes to come."""
        return self.readout in ("rows", "blank")


def born(birth: Birth, sites: Sequence[Site], support_y: Tensor, seed: Tensor) -> FastWeights:
    """Plastic weights of `len(seed)` lifetimes. All draws come from each lifetime's own seed.

    Args:
        support_y: `tasks steps batch`, which rows `rows` and `blank` replace; unused otherwise.
        seed: `tasks`, int64.
    """
    tasks = seed.shape[0]
    generators = [torch.Generator().manual_seed(int(s)) for s in seed.tolist()]
    fast = {}
    for site in sites:
        origin = birth.readout if site is sites[-1] else birth.hidden
        for kind, learned in site.module.named_parameters():
            shared = learned.expand(tasks, *learned.shape)
            if origin == "learned":
                weight = shared
            elif origin in ("zeroed", "blank") or kind == "bias":
                weight = torch.zeros_like(shared)
            else:
                weight = _kaiming(learned, generators)
            if origin in ("rows", "blank"):
                met = _rows_met(support_y, learned.shape[0])
                weight = torch.where(
                    met.view(*met.shape, *[1] * (learned.dim() - 1)), weight, shared
                )
            fast[f"{site.name}.{kind}"] = weight
    return fast


def _kaiming(like: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    std = math.sqrt(2 / like[0].numel())
    drawn = [
        torch.randn(like.shape, generator=generator, dtype=torch.float32)
        for generator in generators
    ]
    return torch.stack(drawn).to(like) * std


def _rows_met(support_y: Tensor, outputs: int) -> Tensor:
    if support_y.is_floating_point():
        raise ValueError(
            "Birth redraws readout rows by class, but the targets are real numbers; "
            "use 'redrawn', 'zeroed' or 'learned' for regression."
        )
    met = support_y.new_zeros(support_y.shape[0], outputs, dtype=torch.bool)
    return met.scatter_(1, support_y.flatten(1), True)
