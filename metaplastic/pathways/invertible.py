"""Invertible chains, through which targets are propagated from output to input.

A chain is an `nn.Sequential` of an optional `Flatten`, then sites: `Linear`, invertible pointwise
layers (`LeakyReLU`, `Identity`), and `First(n)` where the next site is narrower or after the last.
All sites but the first are square, and everything is float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn


class First(nn.Module):
    """The first `units`. The others are auxiliary: they keep a narrowing network invertible."""

    def __init__(self, units: int) -> None:
        super().__init__()
        if units < 1:
            raise ValueError(f"First has {units} units; give it at least 1.")
        self.units = units

    def forward(self, x: Tensor) -> Tensor:
        """`... units` -> `... first units`."""
        if x.shape[-1] < self.units:
            raise ValueError(
                f"First has {self.units} units, but the layer before it has only "
                f"{x.shape[-1]}; give First at most as many."
            )
        return x[..., : self.units]

    def extra_repr(self) -> str:
        return str(self.units)


class Stage(NamedTuple):
    """A site and what follows it up to the next one."""

    name: str
    site: nn.Linear
    pointwise: list[nn.Module]
    first: First | None

    @property
    def square(self) -> bool:
        """Whether the site has as many outputs as inputs."""
        return self.site.in_features == self.site.out_features

    @property
    def slope(self) -> float:
        """The slope of its nonlinearity below zero; that of several in a row is their product."""
        found = 1.0
        for layer in self.pointwise:
            found *= layer.negative_slope if isinstance(layer, nn.LeakyReLU) else 1.0
        return found

    def undo(self, post: Tensor) -> Tensor:
        """The input that gives these activities, `batch post` -> `batch pre`."""
        inverse, failed = torch.linalg.inv_ex(self.site.weight)
        if failed:
            raise ValueError(
                f"The weight of site {self.name!r} is singular, so it has no inverse; begin from "
                "orthogonal_(chain), or keep it from collapsing by a larger orthogonality."
            )
        drive = torch.where(post > 0, post, post / self.slope)
        if self.site.bias is not None:
            drive = drive - self.site.bias
        pre: Tensor = drive @ inverse.mT
        return pre


def stages_of(chain: nn.Sequential) -> list[Stage]:
    """The sites of a chain, from input to output; ValueError for another network."""
    if type(chain).forward is not nn.Sequential.forward:
        raise ValueError(
            f"The model is a {type(chain).__name__} with a forward of its own, but targets need a "
            "plain nn.Sequential of sites; build one, or use another rule."
        )
    stages: list[Stage] = []
    units: int | None = None  # inputs of the next site
    # `named_children` would leave out a layer's second place, a shared nonlinearity's among them.
    for index, (name, layer) in enumerate(chain._modules.items()):
        if type(layer) is nn.Linear:
            _check_site(name, layer, units)
            stages.append(Stage(name, layer, [], None))
            units = layer.out_features
        elif index == 0 and type(layer) is nn.Flatten:
            continue
        elif not stages or type(layer) not in (nn.LeakyReLU, nn.Identity, First):
            raise ValueError(
                f"Layer {name!r} is {layer}, which has no inverse here; a chain is an optional "
                "Flatten, then Linear sites, each with LeakyReLU or Identity and First(n) after "
                "it: replace it by one of these, or use another rule."
            )
        elif stages[-1].first is not None:
            raise ValueError(
                f"Layer {name!r} is {layer}, behind a First; put First last, before the next site."
            )
        elif isinstance(layer, First):
            stages[-1] = stages[-1]._replace(first=layer)
            units = layer.units
        else:
            if isinstance(layer, nn.LeakyReLU) and not layer.negative_slope > 0:
                raise ValueError(
                    f"Layer {name!r} has the slope {layer.negative_slope}, so it cannot be "
                    "inverted; give it a positive one, such as 0.1."
                )
            stages[-1].pointwise.append(layer)
    if not stages:
        raise ValueError("The chain has no Linear layer, so there is nothing to learn; add one.")
    return stages


def _check_site(name: str, site: nn.Linear, units: int | None) -> None:
    """Raise ValueError unless the site has an inverse; `units` is the number of its inputs."""
    pre, post = site.in_features, site.out_features
    if units is not None and pre != post:
        raise ValueError(
            f"Site {name!r} is {pre} -> {post}, but every site after the first must be square to "
            "have an inverse; use equal widths with First(n) where the net narrows (see "
            "narrowing), or use another rule."
        )
    if units not in (None, pre):
        raise ValueError(
            f"Site {name!r} has {pre} inputs but is given {units}; put First({pre}) before it, or "
            f"make it {units} -> {units}."
        )
    if site.weight.dtype != torch.float64:
        raise ValueError(
            f"Site {name!r} is {site.weight.dtype}, but targets differ from activities by less "
            "than its precision; call model.double() first."
        )


def flattened(chain: nn.Sequential, x: Tensor) -> Tensor:
    """The inputs of the first site, `batch pre`."""
    flatten = chain[0]
    given: Tensor = flatten(x) if isinstance(flatten, nn.Flatten) else x
    if given.dtype != torch.float64:
        raise ValueError(f"The inputs are {given.dtype}, but must be float64; give x.double().")
    if given.dim() != 2:
        raise ValueError(
            f"The first site is given inputs of shape {tuple(given.shape)}, but must have "
            "batch x units; put nn.Flatten() first."
        )
    return given


def orthogonal_(chain: nn.Sequential, generator: torch.Generator | None = None) -> nn.Sequential:
    """Set all Linear weights to random orthogonal ones, semi-orthogonal if not square.

    Biases are unchanged. Returns the chain.
    """
    for layer in chain.modules():
        if isinstance(layer, nn.Linear):
            nn.init.orthogonal_(layer.weight, generator=generator)
    return chain


def narrowing(sizes: Sequence[int], slope: float = 0.1) -> nn.Sequential:
    """The tower of 2006.06438, in float64: `[784, 784, 500, 200, 10]` has four sites.

    The inputs of each later site are the first units below, as many as its outputs: 784 -> 784, of
    which 500; 500 -> 500, of which 200; 200 -> 200, of which 10; 10 -> 10. The outputs are leaky
    as well, as in the paper.

    Raises:
        ValueError: for fewer than two sizes, or a net that widens after its first site.
    """
    if len(sizes) < 2:
        raise ValueError(f"sizes are {list(sizes)}; give the inputs and the width of each site.")
    layers: list[nn.Module] = []
    for index, (below, width) in enumerate(pairwise(sizes)):
        if index and width > below:
            raise ValueError(
                f"sizes widen from {below} to {width}, but a square site has no more outputs than "
                "inputs; use sizes that do not grow after the first site."
            )
        if index and width < below:
            layers.append(First(width))
        pre = width if index else below
        layers += [nn.Linear(pre, width, dtype=torch.float64), nn.LeakyReLU(slope)]
    return nn.Sequential(*layers)
