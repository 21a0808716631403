"""What a survey finds of a module: its sites, and what no rule reaches."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from metaplastic.sites.operations import Operation
from metaplastic.sites.products import Product, Source


@dataclass
class ProductInfo:
    """One product of the example's pass: which site, which operation, which shapes."""

    source: Source
    operation: Operation
    input: torch.Size
    output: torch.Size
    batch_axis: int = 0

    @property
    def examples_first(self) -> torch.Size:
        """The shape of the input with examples as its first axis."""
        shape = list(self.input)
        return torch.Size([shape.pop(self.batch_axis), *shape])

    @property
    def site(self) -> str:
        """Whose product it is."""
        assert self.source.site is not None
        return self.source.site

    def silent(self, number: int, weight: Tensor) -> Product:
        """The product as noise meets it: with the shape of its input, and without a value."""
        x = torch.empty(self.input, device="meta")
        return Product(
            number, self.source, self.operation, x, weight, _never, batch_axis=self.batch_axis
        )


@dataclass
class Sites:
    """What was found. Sites are named by their module, or by their parameter where it is not
    called `weight`; in the order in which the example used them."""

    owners: dict[str, str] = field(default_factory=dict)  # every name -> first of the same weight
    parameters: dict[str, tuple[str, ...]] = field(default_factory=dict)  # site -> its parameters
    likes: dict[str, Tensor] = field(default_factory=dict)  # site -> its weight, detached
    biases: dict[str, str] = field(default_factory=dict)  # parameter -> site
    products: list[ProductInfo] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)
    unreached: dict[str, str] = field(default_factory=dict)  # parameter -> the reason
    derived: dict[str, str] = field(default_factory=dict)  # name of a computed weight -> site
    output: torch.Size = field(default_factory=torch.Size)

    @property
    def names(self) -> list[str]:
        """The sites, each once."""
        return list(self.likes)

    def is_derived(self, site: str) -> bool:
        """Whether its weight is computed from parameters, as by `weight_norm`."""
        return site in self.derived.values()

    def inputs(self, site: str) -> list[torch.Size]:
        """The shapes of its inputs, product by product."""
        return [info.input for info in self.products if info.site == site]

    def silent_calls(self, site: str) -> list[Product]:
        """The products of a site as noise meets them: as on the example, without a value."""
        like = self.likes[site]
        return [info.silent(i, like) for i, info in enumerate(self.products) if info.site == site]

    def __str__(self) -> str:
        lines = [
            f"{name}: {tuple(like.shape)}{', frozen' if name in self.frozen else ''}"
            for name, like in self.likes.items()
        ]
        lines += [f"{name}: out of reach, {why}" for name, why in self.unreached.items()]
        return "\n".join(lines)


def _never(x: Tensor) -> Tensor:
    raise RuntimeError("A product without a value cannot be called again.")
