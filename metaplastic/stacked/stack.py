"""A plain network with a leading `tasks` axis, and the tape of its forward pass.

The network is a plain `nn.Sequential`. A `Stack` is its list of layers and runs them on inputs with
a leading `tasks` axis, where every Linear or Conv2d (a *site*) may have weights of its own for each
task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeGuard

from torch import Tensor, nn

from metaplastic.stacked.layers import KEEPS_UNITS, check_apart, check_layer
from metaplastic.stacked.pullback import per_example, pull_layer
from metaplastic.stacked.site import Site

FastWeights = dict[str, Tensor]
"""The weights that a lifetime changes, by name, each with a leading axis of lifetimes."""


class Tape(NamedTuple):
    """The record of one forward pass. `values[i]` is the input of layer i.

    The last value is the output; each is `tasks batch *features`. `pre[site]` is
    `tasks rows pre`, for sites with weights of their own for each task.
    """

    values: tuple[Tensor, ...]
    pre: dict[str, Tensor]

    @property
    def output(self) -> Tensor:
        """What the last layer returned."""
        return self.values[-1]

    def positions(self, site: Site) -> int:
        """Rows per example: 1 for a Linear, height x width of the output for a convolution."""
        return self.pre[site.name].shape[1] // self.values[site.layer].shape[1]


class Stack:
    """An `nn.Sequential` (nested ones are flattened) as layers and sites.

    A block with a `forward` of its own (residual, say) is one layer without sites: its weights are
    meta-learned and frozen within a lifetime.

    Raises ValueError for a layer that cannot run with a task axis, such as a BatchNorm, whose
    statistics would mix lifetimes.
    """

    def __init__(self, network: nn.Sequential) -> None:
        if not _is_plain(network):
            raise ValueError(
                f"The network is a {type(network).__name__}, a Sequential with a forward of its "
                "own, which would not be called. Hand it in as the encoder, or as one layer of a "
                "plain nn.Sequential."
            )
        named = list(_flatten(network))
        for name, layer in named:
            check_layer(name, layer)
        self.names = [name for name, _ in named]
        self.layers = [layer for _, layer in named]
        self.sites = {
            name: Site(name, index, self._activity_of(index), layer)
            for index, (name, layer) in enumerate(named)
            if isinstance(layer, nn.Linear | nn.Conv2d)
        }
        if not self.sites:
            raise ValueError("The network has no Linear or Conv2d layer, so nothing could learn.")
        check_apart(list(self.sites.values()))

    def _activity_of(self, index: int) -> int:
        index += 1
        while index < len(self.layers) and isinstance(self.layers[index], KEEPS_UNITS):
            index += 1
        return index

    def choose(self, plastic: Sequence[str] | int | None) -> list[Site]:
        """The sites of these names, or so many at the end, or all; in the order they are run."""
        names = list(self.sites)
        if plastic is None:
            plastic = len(names)
        if isinstance(plastic, str):  # which is a sequence of names, of one letter each
            plastic = [plastic]
        if isinstance(plastic, int):
            if not 1 <= plastic <= len(names):
                raise ValueError(
                    f"plastic is {plastic}, but the network has {len(names)} sites "
                    f"({', '.join(names)}); give a number from 1 to {len(names)}, or names."
                )
            return [self.sites[name] for name in names[-plastic:]]
        unknown = [name for name in plastic if name not in self.sites]
        if unknown or not plastic:
            raise ValueError(
                f"plastic names {unknown!r}, which is not a site of this network. "
                f"Its sites are {', '.join(names)}. "
                "A site is a Linear or Conv2d submodule, by its dotted name."
            )
        chosen = [self.sites[name] for name in names if name in plastic]
        if chosen[-1].name != names[-1]:
            # Feedback that is clamped at the readout needs a plastic readout.
            raise ValueError(
                f"The last plastic site is {chosen[-1].name!r}, but the readout is {names[-1]!r}; "
                "the readout must be plastic too, or be moved behind the network."
            )
        return chosen

    def run(
        self, x: Tensor, weights: Mapping[str, Tensor], start: int = 0, stop: int | None = None
    ) -> Tape:
        """Forward through layers `start` to `stop`: `tasks batch *features` -> tape."""
        values, pre = [x] * (start + 1), {}
        for index in range(start, len(self.layers) if stop is None else stop):
            name = self.names[index]
            if name in self.sites:
                x, rows = self.sites[name].run(x, weights)
                if rows is not None:
                    pre[name] = rows
            else:
                x = per_example(self.layers[index], x)
            values.append(x)
        return Tape(tuple(values), pre)

    def pull(
        self, tape: Tape, signal: Tensor, weights: Mapping[str, Tensor], above: int, below: int
    ) -> Tensor:
        """Carry a signal on tape value `above` back to value `below` (vector-Jacobian product).

        `weights` may be the forward weights (backpropagation) or feedback weights of their shape.
        """
        for index in range(above - 1, below - 1, -1):
            name, layer = self.names[index], self.layers[index]
            if name in self.sites:
                signal = self.sites[name].pull(tape.values[index], signal, weights)
            else:
                signal = pull_layer(layer, tape.values[index], tape.values[index + 1], signal)
        return signal


def _is_plain(layer: nn.Module) -> TypeGuard[nn.Sequential]:
    return isinstance(layer, nn.Sequential) and type(layer).forward is nn.Sequential.forward


def _flatten(network: nn.Sequential, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    # Not `named_children`, which leaves out a layer that is used a second time.
    for name, layer in zip(network._modules, network, strict=True):
        if _is_plain(layer):
            yield from _flatten(layer, f"{prefix}{name}.")
        else:
            yield prefix + name, layer
