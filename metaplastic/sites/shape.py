"""What a rule may know of a site before anything runs: its name and its sizes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metaplastic.sites.convolution import Convolution
from metaplastic.sites.found import Sites
from metaplastic.sites.operations import Linear


@dataclass(frozen=True)
class SiteShape:
    """A site of any network, as rules that keep numbers for each site know it."""

    name: str
    weight: Tensor  # as it is, detached: its shape, dtype and device
    shape: tuple[int, int]  # post pre of its synapse matrix, groups as further posts
    has_bias: bool
    input: torch.Size  # of the example's first product, examples first
    output: torch.Size  # of the network
    channels: int = 0  # of its own output, where they are not the posts of its matrix

    @property
    def key(self) -> str:
        """The name as it may stand in a ParameterDict."""
        return self.name.replace(".", "_") or "weight"

    @property
    def bias_key(self) -> str:
        """The same for its bias."""
        return self.key + "_bias"

    @property
    def units(self) -> int:
        """The units of its output, as many as a bias has."""
        return self.channels or self.shape[0]

    @property
    def fans(self) -> tuple[int, int]:
        """Inputs of a unit, and outputs of an input, as initializers count them."""
        return self.weight[0].numel(), len(self.weight) * self.weight[0][0].numel()


def site_shapes(found: Sites, names: list[str] | None = None) -> list[SiteShape]:
    """The sites of these names, or all, in the order in which they are run."""
    shapes = []
    for name in found.names if names is None else names:
        first = next(info for info in found.products if info.site == name)
        like = found.likes[name]
        plain = isinstance(first.operation, Linear) or not first.source.views
        flat = first.operation.matrix(like) if like.dim() == 2 and plain else like.flatten(1)
        post, pre = flat.shape[-2] * (len(flat) if flat.dim() == 3 else 1), flat.shape[-1]
        operation, channels = first.operation, 0
        if isinstance(operation, Convolution) and operation.transposed:
            channels = like.shape[1] * operation.groups
        has_bias = name in found.biases.values()
        shape = first.examples_first
        shapes.append(SiteShape(name, like, (post, pre), has_bias, shape, found.output, channels))
    return shapes
