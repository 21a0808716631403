"""What a step needs of a model that stays from step to step: found once, and checked in each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from metaplastic.inner.network import PlasticNetwork
from metaplastic.online.credit import Credit
from metaplastic.sites.activity import FOLLOW
from metaplastic.sites.names import bare
from metaplastic.sites.products import Handler, Known


class Plan:
    """The parameters of a model by name, and those that products are known by.

    A model whose parameters have been replaced or moved since needs another plan (`holds`); one
    whose values changed does not.
    """

    def __init__(self, credit: Credit, network: PlasticNetwork, model: nn.Module) -> None:
        module = bare(model)
        self.named: dict[str, nn.Parameter] = dict(module.named_parameters())
        places = {id(p): name for name, p in self.named.items()}
        self._slots = [
            (holder._parameters, key, p, p.data_ptr())
            for holder in module.modules()
            for key, p in holder._parameters.items()
            if p is not None and id(p) in places
        ]
        sources = list(network.sources({}, {}))
        if not network.derived:  # then buffers do not matter
            sources = [(t, s) for t, s in sources if not s.weight.startswith("buffer:")]
        self.sources = Known(sources)
        self.weights: dict[str, Tensor] = {}
        if not network.derived:
            self.weights = {
                site: self.named[network.parameter(site)].detach() for site in credit.shapes
            }
        self.trainable = [name for name in network.others if self.named[name].requires_grad]
        self._followed: tuple[Any, dict[Any, Handler]] | None = None
        self._learned: tuple[nn.Module, list[nn.Parameter]] | None = None
        self._rates: tuple[object, dict[str, Tensor], dict[str, float]] | None = None

    def followed(self, handlers: Mapping[Any, Handler]) -> Mapping[Any, Handler]:
        """With those that follow activities; the same object in every pass."""
        if self._followed is None or self._followed[0] is not handlers:
            self._followed = (handlers, {**FOLLOW, **handlers})
        return self._followed[1]

    def holds(self) -> bool:
        """Whether the model still has these parameters, and they their memory."""
        return all(
            held.get(key) is p and p.data_ptr() == where for held, key, p, where in self._slots
        )

    def rates(self, credit: Credit, network: PlasticNetwork, batch: int) -> dict[str, Tensor]:
        """The rule's coefficients, computed again only when something in them changed."""
        rule = credit.rule
        if self._learned is None or self._learned[0] is not rule.plasticity:
            self._learned = (rule.plasticity, list(rule.plasticity.parameters()))
        versions = tuple(p._version for p in self._learned[1])
        state = (batch, rule.rate_scale, rule.reduction, versions)
        if self._rates is None or self._rates[0] != state:
            with torch.no_grad():
                found = rule.coefficients(network.shapes, batch)
            numbers = {name: float(rate) for name, rate in found.items() if rate.numel() == 1}
            self._rates = (state, found, numbers)
        return self._rates[1]

    def numbers(self) -> dict[str, float]:
        """Of the last rates those that are one number each."""
        assert self._rates is not None
        return self._rates[2]
