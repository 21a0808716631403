"""A plain network run for many lifetimes at once, and the tape a learning rule reads.

The network stays the user's `nn.Sequential`. A `Stack` reads it as a list of layers and runs it
on inputs with a leading `tasks` axis, where every Linear or Conv2d (a *site*) may have weights of
its own for each task. A site is always a matrix product over rows: a Linear has one row an
example, a convolution one row an example and position (its input unfolded into patches), so one
plasticity rule serves both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaplastic.patches import fold, output_size, padding, unfold
from metaplastic.pullback import POINTWISE, per_example, pull_layer

FastWeights = dict[str, Tensor]

KEEPS_UNITS = (*POINTWISE, nn.GroupNorm, nn.LayerNorm)
REFUSED = {
    nn.modules.batchnorm._BatchNorm: "mixes the statistics of different lifetimes. Use GroupNorm "
    "or LayerNorm,",
    nn.modules.dropout._DropoutNd: "draws anew whenever a step is recomputed or carried back, so "
    "its meta-gradient would be that of another network. Leave it out,",
    nn.RNNBase: "cannot run with weights of its own for each lifetime. Use Linear or Conv2d,",
    nn.MultiheadAttention: "cannot run with weights of its own for each lifetime. Use Linear,",
    nn.Embedding: "cannot run with weights of its own for each lifetime. Use one-hot and Linear,",
}


@dataclass(frozen=True)
class Site:
    """A layer whose weights a rule may change, by its dotted name in the network."""

    name: str
    layer: int  # its index in the stack
    activity: int  # index of the tape value that holds its activity: after norm and nonlinearity
    module: nn.Linear | nn.Conv2d

    @property
    def shape(self) -> tuple[int, int]:
        """`post pre` of its synapse matrix; a convolution's `pre` is channels x kernel."""
        weight = self.module.weight
        return weight.shape[0], weight[0].numel()

    @property
    def key(self) -> str:
        """The name as it may stand in a ParameterDict."""
        return self.name.replace(".", "_")


class Tape(NamedTuple):
    """What one forward pass leaves behind. `values[i]` is what enters layer i.

    The last value is the output; each is `tasks batch *features`. `pre[site]` is
    `tasks rows pre`, for sites whose weights are the task's own.
    """

    values: tuple[Tensor, ...]
    pre: dict[str, Tensor]

    @property
    def output(self) -> Tensor:
        return self.values[-1]


class Stack:
    """An `nn.Sequential` (nested ones are flattened) as layers and sites.

    Raises ValueError for a layer that cannot run with a task axis, such as a BatchNorm, whose
    statistics would mix lifetimes.
    """

    def __init__(self, network: nn.Sequential) -> None:
        named = list(_flatten(network))
        for name, layer in named:
            for refused, reason in REFUSED.items():
                if isinstance(layer, refused):
                    raise ValueError(
                        f"Layer {name!r} is a {type(layer).__name__}, which {reason} or move it "
                        "into the encoder, which is run once for all lifetimes."
                    )
        self.names = [name for name, _ in named]
        self.layers = [layer for _, layer in named]
        self.sites = {
            name: Site(name, index, self._activity_of(index), layer)
            for index, (name, layer) in enumerate(named)
            if isinstance(layer, nn.Linear | nn.Conv2d)
        }
        if not self.sites:
            raise ValueError("The network has no Linear or Conv2d layer, so nothing could learn.")

    def _activity_of(self, index: int) -> int:
        index += 1
        while index < len(self.layers) and isinstance(self.layers[index], KEEPS_UNITS):
            index += 1
        return index

    def run(
        self, x: Tensor, weights: Mapping[str, Tensor], start: int = 0, stop: int | None = None
    ) -> Tape:
        """Forward through layers `start` to `stop`: `tasks batch *features` -> tape."""
        values, pre = [x] * (start + 1), {}
        for index in range(start, len(self.layers) if stop is None else stop):
            name, layer = self.names[index], self.layers[index]
            if name in self.sites:
                _check_fit(self.sites[name], x)
            if name not in self.sites:
                x = per_example(layer, x)
            elif weights[name + ".weight"].dim() == self.sites[name].module.weight.dim():
                x = _shared(self.sites[name], x, weights)
            else:
                x, pre[name] = self._per_task(self.sites[name], x, weights)
            values.append(x)
        return Tape(tuple(values), pre)

    def _per_task(
        self, site: Site, x: Tensor, weights: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        matrix, bias = (
            as_matrix(site, weights[site.name + ".weight"]),
            weights.get(site.name + ".bias"),
        )
        rows = self.rows(site, x)
        if bias is None:
            out = torch.bmm(rows, matrix.mT)
        else:
            out = torch.baddbmm(bias[:, None] if bias.dim() == 2 else bias, rows, matrix.mT)
        if isinstance(site.module, nn.Conv2d):
            height, width = output_size(site.module, x)
            out = out.reshape(*x.shape[:2], height, width, -1).movedim(-1, 2)
        return out, rows

    def rows(self, site: Site, x: Tensor) -> Tensor:
        """The presynaptic side of a site: `tasks batch *features` -> `tasks rows pre`."""
        return x if isinstance(site.module, nn.Linear) else unfold(site.module, x)

    def rows_of_units(self, site: Site, value: Tensor) -> Tensor:
        """The postsynaptic side: `tasks batch post (height width)` -> `tasks rows post`."""
        return value.flatten(3).mT.flatten(1, 2) if value.dim() == 5 else value

    def positions(self, site: Site, tape: Tape) -> int:
        """Rows per example: 1 for a Linear, height x width of the output for a convolution."""
        return tape.pre[site.name].shape[1] // tape.values[site.layer].shape[1]

    def pull(
        self, tape: Tape, signal: Tensor, weights: Mapping[str, Tensor], above: int, below: int
    ) -> Tensor:
        """Carry a signal on tape value `above` back to value `below` (vector-Jacobian product).

        `weights` may be the forward weights (backpropagation) or feedback weights of their shape.
        """
        for index in range(above - 1, below - 1, -1):
            name, layer = self.names[index], self.layers[index]
            if name in self.sites:
                signal = self._site_pull(self.sites[name], tape.values[index], signal, weights)
            else:
                signal = pull_layer(layer, tape.values[index], tape.values[index + 1], signal)
        return signal

    def _site_pull(
        self, site: Site, x: Tensor, signal: Tensor, weights: Mapping[str, Tensor]
    ) -> Tensor:
        matrix = as_matrix(site, weights[site.name + ".weight"])
        rows = self.rows_of_units(site, signal) @ matrix
        return rows if isinstance(site.module, nn.Linear) else fold(site.module, rows, x)


def as_matrix(site: Site, weight: Tensor) -> Tensor:
    """A site's weight as `(tasks) post pre`."""
    kernel = site.module.weight.dim()
    return weight if kernel == 2 else weight.flatten(weight.dim() - kernel + 1)


def _flatten(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, layer in network.named_children():
        if isinstance(layer, nn.Sequential):
            yield from _flatten(layer, f"{prefix}{name}.")
            continue
        if isinstance(layer, nn.Conv2d) and (layer.groups != 1 or layer.padding_mode != "zeros"):
            raise ValueError(
                f"Layer {prefix + name!r} is a convolution with groups={layer.groups} and "
                f"padding_mode={layer.padding_mode!r}; here groups=1 and 'zeros' are needed. "
                "Move it into the encoder, which may be any module."
            )
        yield prefix + name, layer


def _check_fit(site: Site, x: Tensor) -> None:
    given, module = tuple(x.shape[2:]), site.module
    if isinstance(module, nn.Linear):
        needed, fits = f"a flat vector of {module.in_features}", given == (module.in_features,)
    else:
        needed = f"{module.in_channels} channels x height x width"
        fits = len(given) == 3 and given[0] == module.in_channels
    if not fits:
        raise ValueError(
            f"Site {site.name!r} was given inputs of shape {given} per example; it needs {needed}. "
            "Change its size or the encoder's, or put a Flatten before it."
        )


def _shared(site: Site, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    weight, bias = weights[site.name + ".weight"], weights.get(site.name + ".bias")
    if isinstance(site.module, nn.Linear):
        return F.linear(x, weight, bias)
    conv = site.module
    out = F.conv2d(x.flatten(0, 1), weight, bias, conv.stride, padding(conv), conv.dilation)
    return out.reshape(*x.shape[:2], *out.shape[1:])
