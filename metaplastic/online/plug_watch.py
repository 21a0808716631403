"""What a plastic module remembers of an answer: each call of a site, and what surrounds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from metaplastic.online.credit import Credit
from metaplastic.pathways.base import KEEPS_ORDER
from metaplastic.sites.credit_sites import Meeting, Synapses, bare
from metaplastic.sites.reroute import rerouted
from metaplastic.stacked.layers import KEEPS_UNITS
from metaplastic.stacked.pullback import pull_layer

Passed = tuple[nn.Module, Tensor, Tensor]  # a layer, its input and its output


@dataclass
class Call:
    """One call of a site: its input, and its activity after the norm and nonlinearity behind it.

    Nonlinearities are seen where they are modules that are given the very output of the one before;
    behind a function such as `F.relu` a site's activity is its own output.
    """

    name: str
    module: Synapses
    x: Tensor  # padded
    version: int
    activity: Tensor
    edge: GradientEdge  # the output, as it was before anything wrote over it
    before: list[Passed] = field(default_factory=list)  # what x came through, the last one first
    signal: Tensor = field(default_factory=lambda: torch.zeros(()))

    @property
    def meeting(self) -> Meeting:
        return Meeting(self.module)

    def heard(self, found: Tensor, *, first: bool) -> Tensor:
        """What arrived at the inputs, carried through the nonlinearity they come from.

        The inputs of the first site have none; there it is weighted by `1 - exp(-10 |x|)`, so that
        silent inputs hear nothing (Shervani-Tabar & Rosenbaum 2023, eq. 24).
        """
        for layer, given, out in self.before:
            found = pull_layer(layer, given, out, found.reshape_as(out))
        found = found.reshape_as(self.x)
        return found * -torch.expm1(-10 * self.x.abs()) if first else found


@contextmanager
def watched(model: nn.Module, credit: Credit, calls: list[Call]) -> Iterator[None]:
    """Fill `calls` while the model answers, with errors sent by the credit's rule."""
    model, handles = bare(model), []
    passed: list[Passed] = []

    def behind(layer: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        for call in calls:
            if isinstance(layer, KEEPS_UNITS) and given[0] is call.activity:
                call.activity = out
        if isinstance(layer, KEEPS_ORDER):
            passed.append((layer, given[0], out))

    def watch(name: str, x: Tensor, out: Tensor) -> None:
        module: Any = model.get_submodule(name)
        came, value = list[Passed](), x
        while found := next((p for p in reversed(passed) if p[2] is value), None):
            layer, value, after = found
            came.append((layer, value.detach(), after.detach()))
            if value is after:
                break  # written over in place: ReLU's slope is seen in what it left
        calls.append(Call(name, module, x.detach(), x._version, out, get_gradient_edge(out), came))

    for layer in model.modules():
        if isinstance(layer, (*KEEPS_UNITS, *KEEPS_ORDER)):
            handles.append(layer.register_forward_hook(behind))
    try:
        with rerouted(model, credit.sites, credit.carrier(model), watch):
            yield
    finally:
        for handle in handles:
            handle.remove()
