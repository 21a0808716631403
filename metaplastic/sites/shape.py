"""What a rule may know of a site before anything runs: its name and its sizes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metaplastic.sites.convolution import Convolution
from metaplastic.sites.found import ProductInfo, Sites
from metaplastic.sites.operations import Operation, Right


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
    layout: Operation | None = None  # by whose `matrix` it lies in the weight; None: row by row

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

    def as_weight(self, values: Tensor) -> Tensor:
        """Values by synapse, broadcastable to `post pre` -> the shape of the weight."""
        full = values.expand(self.shape)
        if self.layout is None:
            return full.reshape(self.weight.shape)
        by_group = self.layout.matrix(self.weight).shape
        return self.layout.unmatrix(full.reshape(by_group), self.weight)

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
        layout = _layout(first, like)
        by_group = like.flatten(1)[None] if layout is None else layout.matrix(like)
        post, pre = by_group.shape[0] * by_group.shape[1], by_group.shape[2]
        operation, channels = first.operation, 0
        if isinstance(operation, Convolution) and operation.transposed:
            channels = like.shape[1] * operation.groups
        has_bias = name in found.biases.values()
        shape = first.examples_first
        shapes.append(
            SiteShape(name, like, (post, pre), has_bias, shape, found.output, channels, layout)
        )
    return shapes


def _layout(info: ProductInfo, like: Tensor) -> Operation | None:
    """The operation by whose matrix a site's synapses lie in its weight.

    A weight that is looked at from elsewhere lies by its rows, or by its columns where the product
    that uses it has these as posts.
    """
    if not info.source.views:
        return info.operation
    rows = torch.arange(float(len(like))).reshape(-1, *[1] * (like.dim() - 1)).expand_as(like)
    for step in info.source.views:
        rows = step(rows)
    rows = info.operation.matrix(rows)
    along_inputs = bool((rows != rows[..., :1]).any())
    return Right() if along_inputs and like.dim() == 2 else None
